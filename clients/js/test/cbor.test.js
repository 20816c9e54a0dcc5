/** There is one spelling, and every other is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "../src/bytes.js";
import { DEPTH_MAX, Reader, Writer } from "../src/cbor.js";

const skip = (hex) => {
  const reader = new Reader(fromHex(hex));
  reader.skip();
  reader.finish();
};

test("what is written is read back, at every border of a length", () => {
  for (const value of [0n, 23n, 24n, 255n, 256n, 65535n, 65536n, (1n << 32n) - 1n, 1n << 32n, (1n << 64n) - 1n]) {
    const bytes = new Writer().uint(value).take();
    const reader = new Reader(bytes);
    assert.equal(reader.uint(), value);
    reader.finish();
    skip(toHex(bytes));
    const negative = new Reader(new Writer().int(-1n - value).take());
    assert.equal(negative.int(), -1n - value);
  }
  assert.throws(() => new Writer().uint(1n << 64n), RangeError);
  for (const text of ["", "\u{feff}mark", "naïve", "\u{1f40c}"]) assert.equal(new Reader(new Writer().text(text).take()).text(), text);
});

test("every other spelling is refused", () => {
  const refused = {
    "a longer number": ["1817", "190017", "1900ff", "1a0000ffff", "1b00000000ffffffff", "5801aa", "98020101"],
    "an indefinite length": ["5f41aaff", "7f6161ff", "9f01ff", "bf0101ff", "ff"],
    "a reserved length": ["1c", "3d", "5e"],
    "a map key out of order or twice": ["a201010000", "a200010002", "a2616201616100", "a2200000ff"],
    "a float, tag or simple value": ["f97e00", "fa00000000", "c001", "d81800", "e0", "f7", "f820"],
    "text that is not UTF-8": ["61ff", "62c080", "63eda080", "64f4908080"],
    "an item cut short": ["", "18", "42aa", "8201", "a101", "1bffffffffffffff", "9bffffffffffffffff", "5bffffffffffffffff"],
    "trailing bytes": ["0000"],
  };
  for (const [what, spellings] of Object.entries(refused)) {
    for (const spelling of spellings) assert.throws(() => skip(spelling), { name: "EncodingError", reason: "encoding" }, `${what}: ${spelling}`);
  }
  for (const right of ["00", "20", "40", "60", "80", "a0", "f4", "f5", "f6", "a200012001", "a220006161f6"]) skip(right);
});

test("what is passed over nests at most eight deep, counting itself", () => {
  skip("81".repeat(DEPTH_MAX - 1) + "00");
  assert.throws(() => skip("81".repeat(DEPTH_MAX) + "00"), /nested too deeply/);
  skip("a100".repeat(DEPTH_MAX - 1) + "00");
  assert.throws(() => skip("a100".repeat(DEPTH_MAX) + "00"), /nested too deeply/);
  assert.throws(() => skip("81".repeat(4000) + "00"), /nested too deeply/, "and nothing overflows");
});

test("fields of a map come in ascending order, each once, and are unsigned", () => {
  const keys = (hex) => Array.from((function* (reader) { for (const key of reader.fields()) { reader.skip(); yield key; } })(new Reader(fromHex(hex))));
  assert.deepEqual(keys("a30000010018fff6"), [0n, 1n, 255n]);
  for (const hex of ["a201000000", "a200000000", "a1616100", "a12000"]) assert.throws(() => keys(hex), { name: "EncodingError" }, hex);
});
