/** What a record may say, and who may say it. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { concat, fromHex, utf8 } from "../src/bytes.js";
import { Writer } from "../src/cbor.js";
import { Name } from "../src/name.js";
import { decodePayload, encodePayload, ttlAt } from "../src/record.js";
import { SignedRecord, VerifiedRecord, signRecord } from "../src/signed.js";
import { Publisher, address, delegate, dns, opaque, service } from "../support/publisher.js";

/** @type {Publisher} */
let publisher;
/** @type {Publisher} */
let other;
before(async () => ([publisher, other] = [await Publisher.make(2), await Publisher.make()]));

const dnsName = (text) => concat(...text.split(".").map((label) => concat(Uint8Array.of(label.length), utf8(label))), Uint8Array.of(0));

test("right bindings are written and read back as they were", () => {
  const content = Name.ofContent(utf8("x"));
  const bindings = [
    address([192, 0, 2, 1]),
    address(fromHex("20010db8000000000000000000000001"), { priority: 1, weight: 65535, region: "eu-1" }),
    service("https", 443),
    service("a-1", 1, { transport: "udp", target: other.name, alpn: ["h3", "!~"], priority: 9, weight: 1, pins: [new Uint8Array(32), new Uint8Array(32).fill(1)] }),
    delegate(other.name, content, "a_b.example", "xn--bcher-kva.example"),
    dns("", 1, [1, 2, 3, 4], 0),
    dns("*", 16, [0], 2 ** 32 - 1),
    dns("*._tcp.www", 33, concat(new Uint8Array(6), dnsName("x.example"))),
    dns("", 65000 - 1000, []),
    opaque("text/plain;charset=utf-8", [1]),
    opaque("a/b ; c=d"),
  ];
  const says = publisher.says(bindings, { scope: [publisher.name, other.name].toSorted((a, b) => a.compare(b)) });
  const read = decodePayload(encodePayload(says));
  const plain = (record) => JSON.parse(JSON.stringify(record, (key, value) => (typeof value === "bigint" ? String(value) : value)));
  assert.deepEqual(plain(read), plain(says));
});

test("what is out of its bounds is neither read nor written", () => {
  const mapped = fromHex("00000000000000000000ffffc0000201");
  const content = Name.ofContent(utf8("x"));
  const refused = [
    [address(mapped)],
    ...["", "A", "a b", "a".repeat(17)].map((region) => [address([1, 2, 3, 4], { region })]),
    ...["", "A", "-a", "a-", "a--b", "12", "a".repeat(16), "a_b"].map((label) => [service(label, 1)]),
    [service("a", 0)],
    [service("a", 1, { target: content })],
    [service("a", 1, { alpn: [""] })],
    [service("a", 1, { alpn: ["a b"] })],
    [service("a", 1, { alpn: ["a".repeat(33)] })],
    [service("a", 1, { alpn: Array(9).fill("a") })],
    [service("a", 1, { pins: Array(7).fill(new Uint8Array(32)) })],
    [delegate()],
    [delegate(...Array(9).fill("a.b"))],
    ...["", "A.b", "a.", ".a", "a..b", "1.2.3.4", "a.1", "7", "a".repeat(64), `${"a.".repeat(127)}b`, "ä.b"].map((step) => [delegate(step)]),
    [delegate("a.b"), delegate("c.d")],
    ...["a.", "*a", "a.*", "*.*", "A", "*.", "a".repeat(101), "a..b"].map((owner) => [dns(owner, 16, [0])]),
    ...[0, 2, 6, 39, 41, 43, 46, 128, 255, 32768, 65280, 65350, 65535].map((type) => [dns("", type, [])]),
    [dns("", 1, [1, 2, 3])],
    [dns("", 16, [])],
    [dns("", 15, [0, 1, 0xc0, 0x0c])],
    [dns("", 5, dnsName("a.b")), dns("", 16, [0])],
    [dns("", 5, dnsName("a.b")), address([1, 2, 3, 4])],
    [dns("x", 5, dnsName("a.b")), dns("x", 5, dnsName("c.d"))],
    ...["", "text", "/plain", "text/", "te xt/plain", "text/pl ain", "text/plain\n", "a/b/c", `a/${"b".repeat(63)}`].map((type) => [opaque(type)]),
  ];
  for (const bindings of refused) assert.throws(() => encodePayload(publisher.says(bindings)), { name: "RecordError", reason: "binding" }, JSON.stringify(bindings));
  for (const bindings of [[dns("x", 5, dnsName("a.b")), address([1, 2, 3, 4])], [dns("", 5, dnsName("a.b")), opaque("a/b")]]) encodePayload(publisher.says(bindings));
});

test("a default that is written, a list that is empty and a field that nobody knows are refused; from 64 on they are passed over", () => {
  const record = (fill) => {
    const plain = encodePayload(publisher.says([], { ttl: 60 }));
    const binding = new Writer();
    fill(binding);
    return concat(plain.slice(0, -1), Uint8Array.of(0x81), binding.take()); // the empty list of bindings is the last byte
  };
  const anAddress = (/** @type {Writer} */ w, pairs) => w.map(pairs).uint(0).uint(1).uint(1).bytes(Uint8Array.of(1, 2, 3, 4));
  const aService = (/** @type {Writer} */ w, pairs) => w.map(pairs).uint(0).uint(2).uint(1).text("a").uint(2).uint(6).uint(3).uint(1);
  assert.equal(decodePayload(record((w) => anAddress(w, 2))).bindings.length, 1);
  for (const [what, fill] of /** @type {[string, (w: Writer) => unknown][]} */ ([
    ["a priority of 0", (w) => anAddress(w, 3).uint(2).uint(0)],
    ["an empty list", (w) => aService(w, 5).uint(5).array(0)],
    ["field 63", (w) => anAddress(w, 3).uint(63).uint(1)],
    ["kind 63", (w) => w.map(1).uint(0).uint(63)],
    ["kind 6", (w) => w.map(1).uint(0).uint(6)],
    ["no kind", (w) => w.map(1).uint(1).uint(1)],
    ["no ip", (w) => w.map(1).uint(0).uint(1)],
    ["a port of 65536", (w) => w.map(4).uint(0).uint(2).uint(1).text("a").uint(2).uint(6).uint(3).uint(65536)],
    ["transport 7", (w) => w.map(4).uint(0).uint(2).uint(1).text("a").uint(2).uint(7).uint(3).uint(1)],
    ["a target of no scheme", (w) => aService(w, 5).uint(4).bytes(new Uint8Array(33))],
  ])) {
    assert.throws(() => decodePayload(record(fill)), { reason: "binding" }, what);
  }
  assert.equal(decodePayload(record((w) => anAddress(w, 3).uint(64).raw(Uint8Array.of(0xf6)))).bindings.length, 1);
  assert.equal(decodePayload(record((w) => w.map(2).uint(0).uint(64).uint(1).text("anything"))).bindings.length, 0, "of an unknown, uncritical kind");
});

test("sequence, expiry and scope have their bounds", () => {
  const at = 1_700_000_000n * 1_000_000n;
  const says = (more) => () => encodePayload(publisher.says([], { sequence: at, ...more }));
  for (const sequence of [0n, (1n << 62n) + 1n]) assert.throws(says({ sequence, expiry: 1 }), { reason: "sequence" });
  for (const expiry of [1_700_000_000, 1_734_560_001]) assert.throws(says({ expiry }), { reason: "lifetime" });
  for (const expiry of [1_700_000_001, 1_734_560_000]) says({ expiry })();
  const [low, high] = [publisher.name, other.name].toSorted((a, b) => a.compare(b));
  for (const scope of [[high, low], [low, low], [Name.ofContent(utf8("x"))], Array(9).fill(low)]) assert.throws(says({ scope }), { reason: "scope" });
  says({ scope: [low, high] })();
});

test("only the key in force signs: not an earlier one, not a later one, not another's", async () => {
  const record = await publisher.sign([address([192, 0, 2, 1])], { epoch: 1 });
  assert.equal(record.rank.epoch, 1);
  assert.ok(record.name.equals(publisher.name));
  for (const wrong of [publisher.keys[0], publisher.keys[2], other.keys[0]]) {
    await assert.rejects(signRecord(publisher.says([], { epoch: 1 }), wrong.privateKey), { name: "VerifyError", reason: "signature" });
  }
  await assert.rejects(signRecord({ ...publisher.says([]), chain: [publisher.chain[1]] }, publisher.keys[2].privateKey), { reason: "chain" });
  await assert.rejects(record.verify(other.name), { reason: "other-name", turn: "provider" });
});

test("nobody makes a verified record but by verifying", async () => {
  const record = await publisher.sign([]);
  assert.throws(() => new VerifiedRecord(Symbol("verified"), record.bytes), TypeError);
  assert.throws(() => Object.assign(record, { name: other.name }), TypeError, "and it cannot be changed");
  record.bytes.fill(0);
  assert.ok(new SignedRecord(record.bytes).name.equals(publisher.name), "nor can its bytes");
});

test("no byte of a record can be changed without its being refused", async () => {
  const { bytes } = await publisher.sign([address([192, 0, 2, 1])]);
  for (let at = 0; at < bytes.length; at++) {
    const changed = Uint8Array.from(bytes);
    changed[at] ^= 1 << (at % 8);
    await assert.rejects(async () => new SignedRecord(changed).verify(publisher.name), { name: /RecordError|VerifyError/ }, `byte ${at}`);
  }
});

test("a cache keeps a record for its TTL, a week at most, and never beyond its expiry", () => {
  const says = decodePayload(encodePayload(publisher.says([], { sequence: 1_000_000_000n, expiry: 2_000_000, ttl: 2 ** 31 })));
  assert.deepEqual([ttlAt(says, 1_000), ttlAt(says, 1_999_990), ttlAt(says, 2_000_001)], [604_800, 10, 0]);
});
