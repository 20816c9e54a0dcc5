/**
 * What is promised of everything in `docs/vectors.json`, right and wrong. Runs in Node and in browsers alike: nothing here is of Node alone.
 */

import { compare, concat, fromHex, toHex, utf8 } from "../src/bytes.js";
import { verify } from "../src/ed25519.js";
import { Domain, seal, toBeSigned } from "../src/envelope.js";
import { Hit } from "../src/hip.js";
import { commitmentTo, decodeGenesis, encodeGenesis, nameOf } from "../src/keys.js";
import { Name, Scheme } from "../src/name.js";
import { Rank } from "../src/rank.js";
import { verifyProof, verifyReceipt, verifyStatus } from "../src/receipts.js";
import { encodePayload, forgetAt } from "../src/record.js";
import { sha256 } from "../src/sha2.js";
import { SignedRecord, VerifiedRecord } from "../src/signed.js";
import { equal, fails, ok } from "./assertions.js";
import { readFrame } from "./frames.js";

/**
 * What is promised of each kind of vector; each is given all vectors of its kind. A kind that is not here is not known, and
 * whoever runs these must then fail.
 * @type {Record<string, (given: any) => void | Promise<void>>}
 */
export const PROMISES = {
  names(given) {
    for (const { scheme, digest, wire, text, uri, dns } of given) {
      const name = new Name(fromHex(wire));
      equal(name.scheme, scheme);
      equal(toHex(name.digest), digest);
      equal([name.toString(), name.toUri(), name.toDns()], [text, uri, dns]);
      for (const form of [text, uri, dns, `${dns}.`]) {
        for (const cased of [form, form.toUpperCase()]) {
          const read = Name.parse(cased);
          equal(toHex(read.bytes), wire, cased);
          ok(read.equals(name));
        }
      }
    }
  },

  async refused_names(given) {
    for (const { text, reason } of given) await fails(() => Name.parse(text), { name: "NameError", reason }, text);
  },

  async keys({ recovery_seed, salt, genesis, name, bare_genesis, bare_name, keys, links }) {
    for (const { epoch, seed, public_key } of keys) {
      equal(toHex(sha256(utf8("dialtone/seed/v1"), fromHex(recovery_seed), Uint8Array.of(epoch >> 8, epoch & 255))), seed);
      equal(await publicKeyOf(seed), public_key);
    }
    let expected;
    for (const { commitment, next, public_key } of links.toReversed()) {
      equal(next, expected === undefined ? null : toHex(expected));
      const link = { key: fromHex(public_key), next: expected };
      expected = commitmentTo(link);
      equal(toHex(expected), commitment);
    }
    const whole = { key: fromHex(keys[0].public_key), salt: fromHex(salt), next: expected };
    equal(toHex(encodeGenesis(whole)), genesis);
    equal(nameOf(decodeGenesis(fromHex(genesis))).toString(), name);
    equal(toHex(encodeGenesis({ key: whole.key, salt: undefined, next: undefined })), bare_genesis);
    equal(nameOf(decodeGenesis(fromHex(bare_genesis))).toString(), bare_name);
  },

  tags(given) {
    for (const { public_key, tag, bytes } of given) {
      const hit = Hit.of(fromHex(public_key));
      equal([hit.toString(), toHex(hit.bytes)], [tag, bytes]);
      ok(Hit.parse(tag).equals(hit) && Hit.parse(tag.toUpperCase()).equals(hit) && Hit.isMeant(tag), tag);
    }
  },

  async packets(given) {
    let last;
    for (const { relay_payload, envelope, name, rank } of given) {
      const bytes = fromHex(envelope);
      const [key, timestamp, dns, signature] = [bytes.slice(1, 33), bytes.slice(33, 41), bytes.slice(41, -64), bytes.slice(-64)];
      equal(new Name(bytes.slice(0, 33)).toString(), name);
      equal(toHex(concat(signature, timestamp, dns)), relay_payload);
      const micros = BigInt(`0x${toHex(timestamp)}`);
      ok(await verify(key, concat(utf8(`3:seqi${micros}e1:v${dns.length}:`), dns), signature), name);
      equal(rank, `0.0.${micros}.${toHex(sha256(bytes))}`);
      if (last) ok(compare(last, bytes) < 0, "each outranks those before it, by its bytes alone");
      last = bytes;
    }
  },

  values(given) {
    for (const { value, envelope, name, rank } of given) {
      equal(toHex(concat(Uint8Array.of(Scheme.Content), fromHex(value))), envelope);
      equal(Name.ofContent(fromHex(value)).toString(), name);
      equal(rank, `0.0.1.${toHex(sha256(fromHex(envelope)))}`);
    }
  },

  async records(given) {
    for (const vector of given) {
      const record = await new SignedRecord(fromHex(vector.record)).verify(Name.parse(vector.name));
      ok(record instanceof VerifiedRecord, vector.what);
      equal(toHex(record.payload), vector.payload);
      equal(toHex(record.signature), vector.signature);
      equal(toHex(record.key), vector.key);
      equal(toHex(toBeSigned(Domain.Record, record.payload)), vector.sig_structure);
      equal(toHex(seal(record.payload, record.signature)), vector.record);
      equal(record.rank.toString(), vector.rank);
      ok(Rank.parse(vector.rank)?.equals(record.rank));
      equal(record.says.expiry ?? null, vector.expiry);
      equal(forgetAt(record.says) ?? null, vector.forget_at);
      // Fields that were passed over are lost when it is written anew; all else is as it was.
      if (vector.what !== "an unknown, uncritical field") equal(toHex(encodePayload(record.says)), vector.payload, vector.what);
    }
  },

  async refused_records(given) {
    for (const { record, reason, what } of given) {
      const read = async () => new SignedRecord(fromHex(record)).verify();
      await fails(read, { reason }, what);
      // All but these are refused before any signature is looked at.
      if (!["signature", "key"].includes(reason)) await fails(() => new SignedRecord(fromHex(record)), { name: "RecordError", reason }, what);
    }
  },

  async ranks_ascending(given) {
    const records = await Promise.all(given.map(({ record }) => new SignedRecord(fromHex(record)).verify()));
    records.forEach((record, at) => {
      equal(record.rank.toString(), given[at].rank);
      records.forEach((other, to) => equal(Math.sign(record.compareRank(other)), Math.sign(at - to), `${at} and ${to}`));
    });
  },

  async receipts({ provider, receipts }) {
    for (const { receipt, name, rank, time, keep_until } of receipts) {
      const promised = await verifyReceipt(fromHex(receipt));
      equal(
        [promised.provider.toString(), promised.name.toString(), promised.rank.toString(), promised.time, promised.keepUntil],
        [provider, name, rank, BigInt(time), keep_until === null ? undefined : BigInt(keep_until)],
      );
      for (const broken of eachByteChanged(fromHex(receipt))) await fails(() => verifyReceipt(broken), { name: "ReceiptError" }, "a byte changed");
    }
  },

  async statuses(given) {
    for (const { status, provider, name, rank, time } of given) {
      const read = await verifyStatus(fromHex(status));
      equal(
        [read.provider.toString(), read.name.toString(), read.rank?.toString() ?? null, read.time],
        [provider, name, rank, BigInt(time)],
      );
      for (const broken of eachByteChanged(fromHex(status))) await fails(() => verifyStatus(broken), { name: "ReceiptError" }, "a byte changed");
    }
  },

  async proofs(given) {
    for (const { proof, what, of, says } of given) {
      const wrong = await verifyProof(fromHex(proof));
      equal([wrong.what, wrong.of.toString()], [what, of]);
      ok(says.includes(of));
      for (const broken of eachByteChanged(fromHex(proof))) await fails(() => verifyProof(broken), { name: "ReceiptError" }, "a byte changed");
    }
  },

  async messages(given) {
    for (const { frame, what } of given) {
      const bytes = fromHex(frame);
      const { kind, fields } = await readFrame(bytes);
      ok(what.startsWith(kind), `${what} is a ${kind}`);
      if (kind === "answer") equal(["found", "not newer", "absent"][fields.get(1) - 1], what.split(": ")[1]);
      await fails(() => readFrame(bytes.slice(0, -1)), {}, "cut short");
      await fails(() => readFrame(concat(bytes, Uint8Array.of(0))), {}, "a byte too many");
    }
  },
};

/** What signs is checked too: the public key of a seed, by WebCrypto. @param {string} seed */
async function publicKeyOf(seed) {
  const head = fromHex("302e020100300506032b657004220420"); // PKCS#8 of an Ed25519 seed (RFC 8410)
  const key = await crypto.subtle.importKey("pkcs8", concat(head, fromHex(seed)), { name: "Ed25519" }, true, ["sign"]);
  const { x = "" } = await crypto.subtle.exportKey("jwk", key);
  return toHex(Uint8Array.from(atob(x.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0)));
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
