/** Other people's vectors: RFC 8032, ed25519-speccheck, COSE, z-base-32, RFC 9460; and the hashes against the platform's. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compare, fromHex, toHex } from "../src/bytes.js";
import { L, P, add, decode, double, encode, isSmallOrder, yOf } from "../src/curve.js";
import { engine, isWellFormed, ourselves, refuseKey, verify } from "../src/ed25519.js";
import { open } from "../src/envelope.js";
import { refuseRdata } from "../src/rdata.js";
import { sha256, sha512 } from "../src/sha2.js";
import * as z32 from "../src/z32.js";

const published = (file) => JSON.parse(readFileSync(new URL(`../../../shared/tests/vectors/${file}.json`, import.meta.url), "utf8"));
const ed25519 = published("ed25519");

test("the hashes are the platform's, at every length around the ends of blocks", () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, at) => (at * 7 + (at >> 8)) & 255);
  for (const length of [...Array(260).keys(), 1000, 4096, 5000]) {
    const part = bytes.subarray(0, length);
    assert.equal(toHex(sha256(part)), createHash("sha256").update(part).digest("hex"));
    assert.equal(toHex(sha512(part)), createHash("sha512").update(part).digest("hex"));
    assert.equal(compare(sha256(part.subarray(0, length >> 1), part.subarray(length >> 1)), sha256(part)), 0, "in two parts");
  }
});

test("RFC 8032 is reproduced, by the platform and by our own equation", async () => {
  for (const { public_key, message, signature } of ed25519.rfc8032) {
    const [key, said, signed] = [public_key, message, signature].map(fromHex);
    assert.equal(refuseKey(key), undefined);
    assert.equal(await verify(key, said, signed), true);
    assert.equal(ourselves(key, said, signed), true);
    assert.equal(await verify(key, Uint8Array.of(1, 2, 3), signed), false);
    assert.equal(ourselves(key, Uint8Array.of(1, 2, 3), signed), false);
  }
});

test("of the twelve edge cases exactly number 3 passes, whoever does the equation", async () => {
  const cases = ed25519.speccheck.map(({ pub_key, message, signature }) => [pub_key, message, signature].map(fromHex));
  const passed = await Promise.all(cases.map(([key, message, signature]) => verify(key, message, signature)));
  assert.deepEqual(passed.flatMap((is, at) => (is ? [at] : [])), [3]);
  const ours = cases.map(([key, message, signature]) => isWellFormed(signature) && !refuseKey(key) && ourselves(key, message, signature));
  assert.deepEqual(ours, passed);
  assert.equal(cases.length, 12);
  assert.ok(["webcrypto", "javascript"].includes(await engine()));
});

test("the five y of small order are those of points that eight times themselves are nothing, and there are no others among the multiples of one of order 8", () => {
  const eighth = decode(fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"));
  const found = new Set();
  let point = eighth;
  for (let times = 1; times <= 8; times++) {
    assert.ok(isSmallOrder(yOf(encode(point))));
    assert.equal(toHex(encode(double(double(double(point))))), "01".padEnd(64, "0"));
    found.add(yOf(encode(point)));
    point = add(point, eighth);
  }
  assert.equal(found.size, 5);
});

test("keys of small order, off the curve or spelt in a second way are no keys", () => {
  const bytesOf = (y) => Uint8Array.from({ length: 32 }, (_, at) => Number((y >> BigInt(8 * at)) & 255n));
  for (const y of [0n, 1n, P - 1n]) {
    assert.equal(refuseKey(bytesOf(y)), "small-order");
    assert.equal(refuseKey(bytesOf(y | (1n << 255n))), "small-order");
  }
  assert.equal(refuseKey(bytesOf(2n)), "not-a-key", "off the curve");
  assert.equal(refuseKey(bytesOf(P + 3n)), "not-a-key", "3 in a second spelling");
  assert.equal(refuseKey(bytesOf(P)), "not-a-key");
  assert.equal(refuseKey(new Uint8Array(31)), "not-a-key");
});

test("an S beyond the group's order and an R of a second spelling are refused before any equation", () => {
  const { signature } = ed25519.rfc8032[0];
  const right = fromHex(signature);
  assert.ok(isWellFormed(right));
  const s = right.subarray(32).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n) + L;
  const high = Uint8Array.from(right, (byte, at) => (at < 32 ? byte : Number((s >> BigInt(8 * (at - 32))) & 255n)));
  assert.equal(isWellFormed(high), false);
  const spelt = Uint8Array.from(right);
  spelt.set(Uint8Array.from({ length: 32 }, (_, at) => Number(((P + 4n) >> BigInt(8 * at)) & 255n)));
  assert.equal(isWellFormed(spelt), false);
  assert.equal(isWellFormed(right.subarray(0, 63)), false);
});

test("z-base-32 is its specification's, and an alias of a key is not that key", () => {
  const { keys, bits } = published("z32");
  for (const { public_key, zbase32, noncanonical_alias_must_reject } of keys) {
    assert.equal(z32.encode(fromHex(public_key)), zbase32);
    assert.equal(toHex(z32.decode(zbase32.toUpperCase())), public_key);
    assert.throws(() => z32.decode(noncanonical_alias_must_reject), { reason: "non-canonical" });
  }
  const whole = bits.filter(({ bits }) => bits % 8 === 0);
  assert.ok(whole.length > 0);
  for (const { hex, zbase32 } of whole) assert.equal(z32.encode(fromHex(hex)), zbase32);
  assert.throws(() => z32.decode("\u212a"), { reason: "alphabet" }, "the Kelvin sign is no k");
});

test("envelopes of COSE that are not the one envelope are none", () => {
  const { sign1, negative } = published("cose");
  for (const { cose_sign1_tagged } of negative) assert.equal(open(fromHex(cose_sign1_tagged)), undefined);
  const opened = sign1.map(({ name, cose_sign1_tagged, payload, signature }) => {
    const found = open(fromHex(cose_sign1_tagged));
    if (found) assert.deepEqual([toHex(found.payload), toHex(found.signature)], [payload, signature]);
    return found ? name : undefined;
  });
  assert.ok(opened.includes("ed25519_-19_min"));
  assert.ok(!opened.includes("cose_wg_eddsa_sig_01"), "it says EdDSA and has unprotected headers");
});

test("SVCB is RFC 9460's", () => {
  const { positive, negative, failures } = published("svcb");
  for (const type of [64, 65]) {
    for (const { rdata, name } of positive) assert.equal(refuseRdata(type, fromHex(rdata)), undefined, name);
    for (const { rdata, name, presentation } of [...negative, ...failures]) {
      // Parameters in AliasMode are legal, and mean nothing.
      const expected = name === "alias_with_params_ok_ignored" ? /^$/ : /not RDATA/;
      assert.match(refuseRdata(type, fromHex(rdata)) ?? "", expected, name ?? presentation);
    }
  }
});

test("a WebCrypto that has no Ed25519, takes too much or takes too little is not asked for the equation", async () => {
  const platform = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  const cases = ed25519.speccheck.map(({ pub_key, message, signature }) => [pub_key, message, signature].map(fromHex));
  const [{ public_key, message, signature }] = ed25519.rfc8032;
  const says = (answer) => ({ subtle: { importKey: async () => ({}), verify: async () => answer } });
  const none = { subtle: { importKey: async () => { throw new Error("NotSupportedError"); } } };
  try {
    for (const [at, crypto] of [undefined, {}, none, says(true), says(false)].entries()) {
      Object.defineProperty(globalThis, "crypto", { value: crypto, configurable: true });
      const again = await import(`../src/ed25519.js?case=${at}`); // a module of its own, which has asked nobody yet
      assert.equal(await again.engine(), "javascript");
      assert.equal(await again.verify(...[public_key, message, signature].map(fromHex)), true);
      const passed = await Promise.all(cases.map((given) => again.verify(...given)));
      assert.deepEqual(passed.flatMap((is, at) => (is ? [at] : [])), [3]);
    }
  } finally {
    Object.defineProperty(globalThis, "crypto", platform);
  }
});
