/** Byte strings: joined, compared, spelt out. */

/** @param {...Uint8Array} parts @returns {Uint8Array<ArrayBuffer>} */
export function concat(...parts) {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Compares as unsigned bytes from the first on; a prefix is smaller. @param {Uint8Array} one @param {Uint8Array} other @returns {number} */
export function compare(one, other) {
  const shared = Math.min(one.length, other.length);
  for (let at = 0; at < shared; at++) {
    if (one[at] !== other[at]) return one[at] - other[at];
  }
  return one.length - other.length;
}

/** @param {Uint8Array} one @param {Uint8Array} other */
export function equal(one, other) {
  return one.length === other.length && compare(one, other) === 0;
}

/** @param {Uint8Array} bytes @returns {string} lower-case hexadecimal */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text pairs of hexadecimal digits @returns {Uint8Array<ArrayBuffer>} */
export function fromHex(text) {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) throw new TypeError("not pairs of hexadecimal digits");
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(text.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** The ASCII or UTF-8 bytes of a text. @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function utf8(text) {
  return new Uint8Array(new TextEncoder().encode(text));
}

/** Whatever holds bytes, as bytes of our own that nobody else changes. @param {Uint8Array | ArrayBuffer} given @returns {Uint8Array<ArrayBuffer>} */
export function copyOf(given) {
  if (given instanceof Uint8Array) return new Uint8Array(given);
  if (given instanceof ArrayBuffer) return new Uint8Array(given.slice(0));
  throw new TypeError("bytes are a Uint8Array or an ArrayBuffer");
}
