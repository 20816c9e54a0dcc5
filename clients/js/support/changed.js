/** Records with something changed, the same for the same seed: whole envelopes around payloads that two implementations must judge alike. */

import { concat } from "../src/bytes.js";
import { seal } from "../src/envelope.js";

/**
 * @param {Uint8Array[]} payloads right ones
 * @param {number} seed
 * @returns {Generator<Uint8Array, never, void>} for ever
 */
export function* changed(payloads, seed) {
  let state = seed >>> 0 || 1;
  const draw = (/** @type {number} */ below) => {
    // xorshift32 (Marsaglia): any fair sequence will do.
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state % below;
  };
  const heads = [0x00, 0x17, 0x18, 0x1b, 0x20, 0x40, 0x60, 0x61, 0x80, 0x81, 0xa0, 0xa1, 0xbf, 0xc2, 0xf4, 0xf5, 0xf6, 0xf7, 0xf9, 0xff];
  for (;;) {
    let bytes = Uint8Array.from(payloads[draw(payloads.length)]);
    for (let times = 1 + draw(2); times > 0; times--) {
      const at = draw(bytes.length);
      const to = Math.min(bytes.length, at + 1 + draw(6));
      switch (draw(6)) {
        case 0: // a bit
          bytes[at] ^= 1 << draw(8);
          break;
        case 1: // a byte up or down: a length, a key, a number
          bytes[at] += draw(2) === 0 ? 1 : -1;
          break;
        case 2: // another kind of item
          bytes[at] = heads[draw(heads.length)];
          break;
        case 3: // a few bytes less
          bytes = concat(bytes.subarray(0, at), bytes.subarray(to));
          break;
        case 4: // a few bytes twice
          bytes = concat(bytes.subarray(0, to), bytes.subarray(at));
          break;
        case 5: {
          // letters that rules are about
          const letters = "aZ09-_.*;/ \u007f";
          bytes[at] = letters.charCodeAt(draw(letters.length));
        }
      }
      if (bytes.length === 0) bytes = Uint8Array.of(0xa0);
    }
    yield seal(bytes, new Uint8Array(64).fill(7));
  }
}
