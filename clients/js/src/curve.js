/**
 * The curve edwards25519 (RFC 8032 §5.1) in whole numbers: as much as checking signatures needs. Not in constant time, and not for
 * secrets: everything here is public.
 */

/** The field's prime. */
export const P = (1n << 255n) - 19n;
/** The order of the group that the base point makes. */
export const L = (1n << 252n) + 27742317777372353535851937790883648493n;

/** A point in extended coordinates: x = X/Z, y = Y/Z, x·y = T/Z. @typedef {readonly [bigint, bigint, bigint, bigint]} Point */

/** @param {Uint8Array} bytes little-endian @returns {bigint} */
export function littleEndian(bytes) {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** The y that 32 bytes spell, without the sign of x; at or above {@link P} it is spelt in a second way. @param {Uint8Array} bytes */
export function yOf(bytes) {
  return littleEndian(bytes) & ((1n << 255n) - 1n);
}

/**
 * Whether the y of a point is that of one whose order divides 8: a key that signs anything, or an R that hides.
 * @param {bigint} y
 */
export function isSmallOrder(y) {
  return SMALL_ORDER.includes(y);
}

/** The point that 32 bytes spell, or `undefined` if they spell none, or not in the one way. @param {Uint8Array} bytes @returns {Point | undefined} */
export function decode(bytes) {
  const y = yOf(bytes);
  if (bytes.length !== 32 || y >= P) return undefined;
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  // x = u·v³·(u·v⁷)^((p−5)/8), RFC 8032 §5.1.3
  const cube = mod(v * v * v);
  let x = mod(u * cube * power(mod(u * cube * cube * v), (P - 5n) / 8n));
  const square = mod(v * x * x);
  if (square !== u) {
    if (square !== mod(-u)) return undefined;
    x = mod(x * ROOT_OF_MINUS_ONE);
  }
  const odd = BigInt(bytes[31] >> 7);
  if (x === 0n && odd) return undefined;
  if ((x & 1n) !== odd) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

/** The one spelling of a point. @param {Point} point @returns {Uint8Array<ArrayBuffer>} */
export function encode([x, y, z]) {
  const inverse = power(z, P - 2n);
  let left = mod(y * inverse) | ((mod(x * inverse) & 1n) << 255n);
  return Uint8Array.from({ length: 32 }, () => {
    const byte = Number(left & 0xffn);
    left >>= 8n;
    return byte;
  });
}

/** s·B + k·A. @param {bigint} s @param {bigint} k @param {Point} point A @returns {Point} */
export function combine(s, k, point) {
  const both = add(BASE, point);
  /** @type {Point} */
  let sum = IDENTITY;
  for (let bit = 255n; bit >= 0n; bit--) {
    sum = double(sum);
    const one = (s >> bit) & 1n;
    const other = (k >> bit) & 1n;
    if (one && other) sum = add(sum, both);
    else if (one) sum = add(sum, BASE);
    else if (other) sum = add(sum, point);
  }
  return sum;
}

/** @param {Point} point @returns {Point} */
export function negate([x, y, z, t]) {
  return [mod(-x), y, z, mod(-t)];
}

/** RFC 8032 §5.1.4: complete, so it is right for every two points. @param {Point} one @param {Point} other @returns {Point} */
export function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * D * t1 * t2);
  const d = mod(2n * z1 * z2);
  return product(b - a, d - c, d + c, b + a);
}

/** @param {Point} point @returns {Point} */
export function double([x, y, z]) {
  const a = mod(x * x);
  const b = mod(y * y);
  const h = a + b;
  const e = h - (x + y) ** 2n;
  const g = a - b;
  return product(e, mod(2n * z * z) + g, g, h);
}

/** @param {bigint} e @param {bigint} f @param {bigint} g @param {bigint} h @returns {Point} */
function product(e, f, g, h) {
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

/** @param {bigint} value */
function mod(value) {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
}

/** @param {bigint} base @param {bigint} exponent */
function power(base, exponent) {
  let result = 1n;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = mod(result * base);
    base = mod(base * base);
  }
  return result;
}

const D = mod(-121665n * power(121666n, P - 2n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);
/** @type {Point} */
const IDENTITY = [0n, 1n, 1n, 0n];
const BASE_Y = mod(4n * power(5n, P - 2n));
const BASE = /** @type {Point} */ (decode(Uint8Array.from({ length: 32 }, (_, at) => Number((BASE_Y >> BigInt(8 * at)) & 0xffn))));
/** The y of two of the four points of order 8; the other two have its negative. The other four points have 1, −1 and, twice, 0. */
const EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
const SMALL_ORDER = [1n, P - 1n, 0n, EIGHTH, P - EIGHTH];
