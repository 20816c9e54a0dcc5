/** z-base-32: 5 bits a character, most significant first, the last character filled up with zero bits. */

import { NameError } from "./errors.js";

/** The alphabet, in order of value. */
export const ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769";

/** @param {Uint8Array} bytes @returns {string} */
export function encode(bytes) {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; ) {
      bits -= 5;
      text += ALPHABET[held >> bits];
      held &= (1 << bits) - 1;
    }
  }
  return bits > 0 ? text + ALPHABET[held << (5 - bits)] : text;
}

/**
 * Upper and lower case are alike; an alias of a canonical text is refused. The alphabet is checked first, so that a stray character is
 * named before the length is.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {NameError} `alphabet`, `length` or `non-canonical`
 */
export function decode(text) {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let held = 0;
  let bits = 0;
  let at = 0;
  let position = 0;
  for (const found of text) {
    position++;
    // Not `toLowerCase`: the Kelvin sign would become a k.
    const value = ALPHABET.indexOf(found >= "A" && found <= "Z" ? found.toLowerCase() : found);
    if (value < 0) {
      throw new NameError("alphabet", `character ${JSON.stringify(found)} at position ${position} is not in the z-base-32 alphabet (${ALPHABET})`);
    }
    held = (held << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
      held &= (1 << bits) - 1;
    }
  }
  if (bits >= 5) throw new NameError("length", `${text.length} characters is not a length that whole bytes have`);
  if (held !== 0) throw new NameError("non-canonical", "the last character is not canonical: it carries bits beyond the end");
  return bytes;
}
