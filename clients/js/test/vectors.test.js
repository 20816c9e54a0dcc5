/** Everything in `docs/vectors.json`, right and wrong. A kind of vector that this runner does not know makes it fail. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compare, concat, fromHex, toHex, utf8 } from "../src/bytes.js";
import { Domain, seal, toBeSigned } from "../src/envelope.js";
import { commitmentTo, decodeGenesis, encodeGenesis, nameOf } from "../src/keys.js";
import { Name } from "../src/name.js";
import { Rank } from "../src/rank.js";
import { verifyProof, verifyReceipt, verifyStatus } from "../src/receipts.js";
import { encodePayload, forgetAt } from "../src/record.js";
import { sha256 } from "../src/sha2.js";
import { SignedRecord, VerifiedRecord } from "../src/signed.js";
import { readFrame } from "../support/frames.js";

const vectors = JSON.parse(readFileSync(new URL("../../../docs/vectors.json", import.meta.url), "utf8"));

/**
 * What is promised of each kind of vector; each is given all vectors of its kind.
 * @type {Record<string, (given: any) => void | Promise<void>>}
 */
const PROMISES = {
  names(given) {
    for (const { scheme, digest, wire, text, uri, dns } of given) {
      const name = new Name(fromHex(wire));
      assert.equal(name.scheme, scheme);
      assert.equal(toHex(name.digest), digest);
      assert.deepEqual([name.toString(), name.toUri(), name.toDns()], [text, uri, dns]);
      for (const form of [text, uri, dns, `${dns}.`]) {
        for (const cased of [form, form.toUpperCase()]) {
          const read = Name.parse(cased);
          assert.equal(toHex(read.bytes), wire, cased);
          assert.ok(read.equals(name));
        }
      }
    }
  },

  refused_names(given) {
    for (const { text, reason } of given) assert.throws(() => Name.parse(text), { name: "NameError", reason }, text);
  },

  async keys({ recovery_seed, salt, genesis, name, bare_genesis, bare_name, keys, links }) {
    for (const { epoch, seed, public_key } of keys) {
      assert.equal(toHex(sha256(utf8("dialtone/seed/v1"), fromHex(recovery_seed), Uint8Array.of(epoch >> 8, epoch & 255))), seed);
      assert.equal(await publicKeyOf(seed), public_key);
    }
    let expected;
    for (const { commitment, next, public_key } of links.toReversed()) {
      assert.equal(next, expected === undefined ? null : toHex(expected));
      const link = { key: fromHex(public_key), next: expected };
      expected = commitmentTo(link);
      assert.equal(toHex(expected), commitment);
    }
    const whole = { key: fromHex(keys[0].public_key), salt: fromHex(salt), next: expected };
    assert.equal(toHex(encodeGenesis(whole)), genesis);
    assert.equal(nameOf(decodeGenesis(fromHex(genesis))).toString(), name);
    assert.equal(toHex(encodeGenesis({ key: whole.key, salt: undefined, next: undefined })), bare_genesis);
    assert.equal(nameOf(decodeGenesis(fromHex(bare_genesis))).toString(), bare_name);
  },

  async records(given) {
    for (const vector of given) {
      const record = await new SignedRecord(fromHex(vector.record)).verify(Name.parse(vector.name));
      assert.ok(record instanceof VerifiedRecord, vector.what);
      assert.equal(toHex(record.payload), vector.payload);
      assert.equal(toHex(record.signature), vector.signature);
      assert.equal(toHex(record.key), vector.key);
      assert.equal(toHex(toBeSigned(Domain.Record, record.payload)), vector.sig_structure);
      assert.equal(toHex(seal(record.payload, record.signature)), vector.record);
      assert.equal(record.rank.toString(), vector.rank);
      assert.ok(Rank.parse(vector.rank)?.equals(record.rank));
      assert.equal(record.says.expiry ?? null, vector.expiry);
      assert.equal(forgetAt(record.says) ?? null, vector.forget_at);
      // Fields that were passed over are lost when it is written anew; all else is as it was.
      if (vector.what !== "an unknown, uncritical field") assert.equal(toHex(encodePayload(record.says)), vector.payload, vector.what);
    }
  },

  async refused_records(given) {
    for (const { record, reason, what } of given) {
      const read = async () => new SignedRecord(fromHex(record)).verify();
      await assert.rejects(read(), { reason }, what);
      // All but these are refused before any signature is looked at.
      if (!["signature", "key"].includes(reason)) assert.throws(() => new SignedRecord(fromHex(record)), { name: "RecordError", reason }, what);
    }
  },

  async ranks_ascending(given) {
    const records = await Promise.all(given.map(({ record }) => new SignedRecord(fromHex(record)).verify()));
    records.forEach((record, at) => {
      assert.equal(record.rank.toString(), given[at].rank);
      records.forEach((other, to) => assert.equal(Math.sign(record.compareRank(other)), Math.sign(at - to), `${at} and ${to}`));
    });
  },

  async receipts({ provider, receipts }) {
    for (const { receipt, name, rank, time, keep_until } of receipts) {
      const promised = await verifyReceipt(fromHex(receipt));
      assert.deepEqual(
        [promised.provider.toString(), promised.name.toString(), promised.rank.toString(), promised.time, promised.keepUntil],
        [provider, name, rank, BigInt(time), keep_until === null ? undefined : BigInt(keep_until)],
      );
      for (const broken of eachByteChanged(fromHex(receipt))) await assert.rejects(verifyReceipt(broken), { name: "ReceiptError" });
    }
  },

  async statuses(given) {
    for (const { status, provider, name, rank, time } of given) {
      const read = await verifyStatus(fromHex(status));
      assert.deepEqual(
        [read.provider.toString(), read.name.toString(), read.rank?.toString() ?? null, read.time],
        [provider, name, rank, BigInt(time)],
      );
      for (const broken of eachByteChanged(fromHex(status))) await assert.rejects(verifyStatus(broken), { name: "ReceiptError" });
    }
  },

  async proofs(given) {
    for (const { proof, what, of, says } of given) {
      const wrong = await verifyProof(fromHex(proof));
      assert.deepEqual([wrong.what, wrong.of.toString()], [what, of]);
      assert.ok(says.includes(of));
      for (const broken of eachByteChanged(fromHex(proof))) await assert.rejects(verifyProof(broken), { name: "ReceiptError" });
    }
  },

  async messages(given) {
    for (const { frame, what } of given) {
      const bytes = fromHex(frame);
      const { kind, fields } = await readFrame(bytes);
      assert.ok(what.startsWith(kind), `${what} is a ${kind}`);
      if (kind === "answer") assert.equal(["found", "not newer", "absent"][fields.get(1) - 1], what.split(": ")[1]);
      await assert.rejects(readFrame(bytes.slice(0, -1)));
      await assert.rejects(readFrame(concat(bytes, Uint8Array.of(0))));
    }
  },
};

test("every kind of vector is known to this runner, and has vectors", () => {
  const { about, ...kinds } = vectors;
  assert.match(about, /Test vectors/);
  assert.deepEqual(Object.keys(kinds).toSorted(), Object.keys(PROMISES).toSorted());
  for (const [kind, given] of Object.entries(kinds)) assert.ok(Object.keys(given).length > 0, kind);
});

for (const [kind, promise] of Object.entries(PROMISES)) {
  test(`the vectors of ${kind} are as promised`, () => promise(vectors[kind]));
}

/** What signs is checked too: the public key of a seed, by WebCrypto. @param {string} seed */
async function publicKeyOf(seed) {
  const head = fromHex("302e020100300506032b657004220420"); // PKCS#8 of an Ed25519 seed (RFC 8410)
  const key = await crypto.subtle.importKey("pkcs8", concat(head, fromHex(seed)), { name: "Ed25519" }, true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", key);
  return Buffer.from(x, "base64url").toString("hex");
}

/** About forty of the ways in which one byte can be wrong, the first and last bytes among them. @param {Uint8Array} right */
function* eachByteChanged(right) {
  const step = Math.max(1, Math.floor(right.length / 40));
  for (let at = 0; at < right.length; at += step) {
    const wrong = Uint8Array.from(right);
    wrong[at] ^= 1 + (at % 255);
    if (compare(wrong, right) !== 0) yield wrong;
  }
}
