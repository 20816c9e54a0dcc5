/**
 * Strict Ed25519 (PROTOCOL.md §3 and §8 step 6): RFC 8032 §5.1.7 without the cofactor; the key canonical, on the curve and not of small
 * order; S below the group's order; R canonical and not of small order.
 *
 * Implementations of WebCrypto differ in what they take, and some have no Ed25519. So everything but the equation itself is checked
 * here, and the equation is left to WebCrypto only where it gives the right answers to signatures that tell the implementations apart.
 */

import { equal, fromHex } from "./bytes.js";
import { L, P, combine, decode, encode, isSmallOrder, littleEndian, negate, yOf } from "./curve.js";
import { sha512 } from "./sha2.js";

/**
 * Why 32 bytes are no key that may sign: `not-a-key` or `small-order`; `undefined` if they are one.
 * @param {Uint8Array} key
 * @returns {"not-a-key" | "small-order" | undefined}
 */
export function refuseKey(key) {
  if (key.length !== 32 || yOf(key) >= P) return "not-a-key";
  if (isSmallOrder(yOf(key))) return "small-order";
  return decode(key) ? undefined : "not-a-key";
}

/**
 * Whether `signature` is the one of `message` by `key`, which must have passed {@link refuseKey}.
 * @param {Uint8Array} key
 * @param {Uint8Array} message
 * @param {Uint8Array} signature
 * @returns {Promise<boolean>}
 */
export async function verify(key, message, signature) {
  if (!isWellFormed(signature) || refuseKey(key)) return false;
  const equation = (await trusted()) ? webCrypto : ourselves;
  return equation(key, message, signature);
}

/** Who does the equation here: `webcrypto`, or `javascript` where WebCrypto has no Ed25519 or another one. @returns {Promise<"webcrypto" | "javascript">} */
export async function engine() {
  return (await trusted()) ? "webcrypto" : "javascript";
}

/** S below the order; R spelt in its one way and not of small order. @param {Uint8Array} signature */
export function isWellFormed(signature) {
  if (signature.length !== 64 || littleEndian(signature.subarray(32)) >= L) return false;
  const y = yOf(signature.subarray(0, 32));
  // Where x is 0 its sign could be spelt in two ways; those two points are of small order.
  return y < P && !isSmallOrder(y);
}

/**
 * The equation in this very file: [S]B = R + [k]A, compared in bytes.
 * @param {Uint8Array} key
 * @param {Uint8Array} message
 * @param {Uint8Array} signature
 */
export function ourselves(key, message, signature) {
  const point = decode(key);
  if (!point) return false;
  const r = signature.subarray(0, 32);
  const k = littleEndian(sha512(r, key, message)) % L;
  return equal(encode(combine(littleEndian(signature.subarray(32)), k, negate(point))), r);
}

/** @param {Uint8Array} key @param {Uint8Array} message @param {Uint8Array} signature @returns {Promise<boolean>} */
async function webCrypto(key, message, signature) {
  const { subtle } = globalThis.crypto;
  const imported = await subtle.importKey("raw", new Uint8Array(key), ALGORITHM, false, ["verify"]);
  return subtle.verify(ALGORITHM, imported, new Uint8Array(signature), new Uint8Array(message));
}

/** @type {Promise<boolean> | undefined} */
let asked;

/** Asked once: whether WebCrypto's equation is ours. */
function trusted() {
  asked ??= probe();
  return asked;
}

async function probe() {
  if (!globalThis.crypto?.subtle) return false;
  try {
    for (const [key, message, signature, right] of PROBES) {
      if ((await webCrypto(fromHex(key), fromHex(message), fromHex(signature))) !== right) return false;
    }
    return true;
  } catch {
    return false; // it has no Ed25519
  }
}

const ALGORITHM = { name: "Ed25519" };

/**
 * Cases 3, 4 and 5 of ed25519-speccheck (Chalkias, Garillot, Nikolaenko: "Taming the many EdDSAs"): the key, or the key and R, have a
 * part of small order. Without the cofactor 3 holds and 4 and 5 do not; with it all do; and some implementations take none.
 * @type {readonly (readonly [string, string, string, boolean])[]}
 */
const PROBES = [
  [
    "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
    "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
    "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
    true,
  ],
  [
    "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
    "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
    "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
    false,
  ],
  [
    "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
    "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
    "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
    false,
  ],
];
