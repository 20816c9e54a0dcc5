/**
 * cSHAKE128 (NIST SP 800-185) over Keccak-f[1600] (FIPS 202). What is hashed here is small: a key, now and then. The constants are what the
 * standard says they are: a walk over the lanes, and a register that shifts.
 */

import { concat } from "./bytes.js";

/**
 * @param {Uint8Array} message
 * @param {number} bytes how many are wanted, at most 168
 * @param {Uint8Array} context S, the customization; N is empty. It must not be empty, too: that would be SHAKE128
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function cshake128(message, bytes, context) {
  const head = concat(leftEncode(RATE), leftEncode(0), leftEncode(8 * context.length), context);
  const start = Math.ceil(head.length / RATE) * RATE;
  const padded = new Uint8Array(Math.ceil((start + message.length + 1) / RATE) * RATE);
  padded.set(head);
  padded.set(message, start);
  padded[start + message.length] ^= 0x04;
  padded[padded.length - 1] ^= 0x80;
  const blocks = new DataView(padded.buffer);
  const lanes = Array(25).fill(0n);
  for (let block = 0; block < padded.length; block += RATE) {
    for (let lane = 0; lane < RATE / 8; lane++) lanes[lane] ^= blocks.getBigUint64(block + 8 * lane, true);
    permute(lanes);
  }
  const squeezed = new DataView(new ArrayBuffer(RATE));
  for (let lane = 0; lane < RATE / 8; lane++) squeezed.setBigUint64(8 * lane, lanes[lane], true);
  return new Uint8Array(squeezed.buffer.slice(0, bytes));
}

/** A number below 65,536 in as many bytes as it needs, with their count before it. @param {number} number */
function leftEncode(number) {
  return number < 256 ? Uint8Array.of(1, number) : Uint8Array.of(2, number >> 8, number & 255);
}

/** The 24 rounds, in place. Lane (x, y) is at x + 5y. @param {bigint[]} lanes */
function permute(lanes) {
  let register = 1;
  for (let round = 0; round < 24; round++) {
    const parity = [0, 1, 2, 3, 4].map((x) => lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]);
    for (let at = 0; at < 25; at++) lanes[at] ^= parity[(at + 4) % 5] ^ turn(parity[(at + 1) % 5], 1);
    let [x, y, held] = [1, 0, lanes[1]];
    for (let step = 1; step < 25; step++) {
      [x, y] = [y, (2 * x + 3 * y) % 5];
      const next = lanes[x + 5 * y];
      lanes[x + 5 * y] = turn(held, ((step * (step + 1)) / 2) % 64);
      held = next;
    }
    for (let row = 0; row < 25; row += 5) {
      const before = lanes.slice(row, row + 5);
      for (let at = 0; at < 5; at++) lanes[row + at] ^= ~before[(at + 1) % 5] & MASK & before[(at + 2) % 5];
    }
    for (let bit = 0; bit < 7; bit++) {
      if (register & 1) lanes[0] ^= 1n << ((1n << BigInt(bit)) - 1n);
      register = (register << 1) ^ (register & 0x80 ? 0x171 : 0);
    }
  }
}

/** To the left. @param {bigint} lane @param {number} by below 64 */
function turn(lane, by) {
  return ((lane << BigInt(by)) | (lane >> BigInt(64 - by))) & MASK;
}

const MASK = (1n << 64n) - 1n;
/** Bytes that go in at a time. */
const RATE = 168;
