/**
 * SHA-256 and SHA-512 (FIPS 180-4), at once and not as a promise: names and ranks are hashes, and a name should not have to be
 * waited for. What is hashed here is small. The constants are what the standard says they are: fractional parts of roots of primes.
 */

/** @param {...Uint8Array} parts hashed one after another @returns {Uint8Array<ArrayBuffer>} 32 bytes */
export function sha256(...parts) {
  const view = padded(parts, 64);
  const state = Uint32Array.from(ROOTS, (root) => Number(root >> 32n));
  const w = new Uint32Array(64);
  for (let block = 0; block < view.byteLength; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15];
      const b = w[i - 2];
      w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + KEYS_32[i] + w[i]) >>> 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) >>> 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) >>> 0, c, b, a, (one + two) >>> 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setUint32(4 * i, word));
  return new Uint8Array(digest.buffer);
}

/** @param {...Uint8Array} parts hashed one after another @returns {Uint8Array<ArrayBuffer>} 64 bytes */
export function sha512(...parts) {
  const view = padded(parts, 128);
  const state = BigUint64Array.from(ROOTS);
  const w = new BigUint64Array(80);
  for (let block = 0; block < view.byteLength; block += 128) {
    for (let i = 0; i < 16; i++) w[i] = view.getBigUint64(block + 8 * i);
    for (let i = 16; i < 80; i++) {
      const a = w[i - 15];
      const b = w[i - 2];
      w[i] = w[i - 16] + (long(a, 1n) ^ long(a, 8n) ^ (a >> 7n)) + w[i - 7] + (long(b, 19n) ^ long(b, 61n) ^ (b >> 6n));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 80; i++) {
      const one = h + (long(e, 14n) ^ long(e, 18n) ^ long(e, 41n)) + ((e & f) ^ (~e & MASK & g)) + KEYS_64[i] + w[i];
      const two = (long(a, 28n) ^ long(a, 34n) ^ long(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) & MASK, c, b, a, (one + two) & MASK];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
  }
  const digest = new DataView(new ArrayBuffer(64));
  state.forEach((word, i) => digest.setBigUint64(8 * i, word));
  return new Uint8Array(digest.buffer);
}

/** The message, a bit, zeros, and its length in bits, in whole blocks. @param {Uint8Array[]} parts @param {number} block */
function padded(parts, block) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const tail = block / 8; // the bit's byte and the length
  const view = new DataView(new ArrayBuffer(Math.ceil((length + 1 + tail) / block) * block));
  let at = 0;
  for (const part of parts) {
    new Uint8Array(view.buffer, at).set(part);
    at += part.length;
  }
  view.setUint8(at, 0x80);
  view.setBigUint64(view.byteLength - 8, BigInt(length) * 8n);
  return view;
}

/** @param {number} word @param {number} by */
function turn(word, by) {
  return (word >>> by) | (word << (32 - by));
}

/** @param {bigint} word @param {bigint} by */
function long(word, by) {
  return (word >> by) | ((word << (64n - by)) & MASK);
}

/** The first 64 bits after the point of the root of a prime. @param {number} prime @param {bigint} degree */
function fraction(prime, degree) {
  const scaled = BigInt(prime) << (64n * degree);
  let root = 1n << 70n; // above all of them; Newton's way goes down from there
  for (;;) {
    const next = ((degree - 1n) * root + scaled / root ** (degree - 1n)) / degree;
    if (next >= root) return root & MASK;
    root = next;
  }
}

const MASK = (1n << 64n) - 1n;
const PRIMES = Array.from({ length: 410 }, (_, n) => n).filter((n) => n > 1 && !Array.from({ length: 20 }, (_, d) => d).some((d) => d > 1 && d < n && n % d === 0));
const ROOTS = PRIMES.slice(0, 8).map((prime) => fraction(prime, 2n));
const KEYS_64 = PRIMES.slice(0, 80).map((prime) => fraction(prime, 3n));
const KEYS_32 = Uint32Array.from(KEYS_64.slice(0, 64), (key) => Number(key >> 32n));
