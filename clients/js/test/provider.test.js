/** Against the real thing: published with the command at one provider, resolved with this client at the other. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Provider, Resolver, SignedRecord, verifyReceipt } from "../src/index.js";
import { Writer } from "../src/cbor.js";
import { fromHex, utf8 } from "../src/bytes.js";
import { encodePayload } from "../src/record.js";
import { changed } from "../support/changed.js";
import { BINARY, Providers } from "../support/providers.js";
import { Publisher, address, delegate, dns, opaque, service } from "../support/publisher.js";

const skip = BINARY ? false : "NOT TRIED: set DIALTONE_BIN to the path of the binary `dialtone`";
if (skip) console.error(`# test/provider.test.js: ${skip}`);

describe("real providers", { skip }, () => {
  /** @type {Providers} */
  let providers;
  before(async () => (providers = await Providers.start()));
  after(() => providers?.stop());

  test("the sample that a provider publishes is found at the other, and is its publisher's word", async () => {
    const found = await new Resolver(providers.urls[1]).lookup(providers.sample);
    assert.equal(String(found.record.name), providers.sample);
  });

  test("layers that the command publishes at one provider are followed at the other, and end where the command's own end", async () => {
    const host = await providers.key("host.key");
    await providers.publish("host.key", "--address", "192.0.2.7,region=eu-1", "--address", "2001:db8::7,priority=1");
    const site = await providers.key("site.key");
    await providers.publish("site.key", "--service", `https:tcp:443,target=${host},alpn=h2+http/1.1`, "--dns", "@ 300 TXT hello");
    const front = await providers.key("front.key");
    await providers.publish("front.key", "--delegate", `${site},legacy.example`);

    const { endpoints, tree } = await new Resolver(providers.urls[1]).resolve(front, { service: "https" });
    assert.deepEqual(endpoints.map(({ ip, port, alpn, region, onward }) => [ip, port, alpn, region, onward.map(String)]), [
      ["192.0.2.7", 443, ["h2", "http/1.1"], "eu-1", ["legacy.example"]],
      ["2001:db8::7", 443, ["h2", "http/1.1"], undefined, ["legacy.example"]],
    ]);
    assert.deepEqual([tree, tree.children[0], tree.children[0].children[0]].map(({ name }) => String(name)), [front, site, host]);

    const { endpoints: theirs } = await (await fetch(`${providers.urls[1]}/v1/resolve/${front}`)).json();
    assert.deepEqual(theirs.map(({ ip, port, region, path }) => [ip, port, region ?? undefined, path]), endpoints.map(({ ip, port, region, path }) => [ip, port, region, path.map(String)]));
  });

  test("of two providers the newest is taken, and what moves is seen at once by whoever asks afresh", async () => {
    const name = await providers.key("moves.key");
    const resolver = new Resolver({ providers: providers.urls });
    const ip = async () => (await resolver.resolve(name, { fresh: true })).endpoints[0]?.ip;
    await providers.publish("moves.key", "--address", "192.0.2.1");
    assert.equal(await ip(), "192.0.2.1");
    await providers.publish("moves.key", "--address", "192.0.2.2");
    assert.equal(await ip(), "192.0.2.2");
    await providers.run("unpublish", "--key", `${providers.folder}/moves.key`, "--provider", providers.urls[0]);
    assert.equal((await new Resolver(providers.urls[0]).resolve(name)).endpoints.length, 0);
  });

  test("what is signed here is taken there, with a receipt that holds the provider to it, and found at the other", async () => {
    const publisher = await Publisher.make(1);
    const [provider, peer] = providers.urls.map((url, at) => new Provider(url, { name: providers.names[at] }));
    const record = await publisher.sign([address([192, 0, 2, 4]), service("https", 443)]);
    const promised = await provider.put(record, { ifHeld: "nothing" });
    assert.deepEqual([String(promised.provider), String(promised.rank)], [providers.names[0], String(record.rank)]);
    await assert.rejects(provider.put(record, { ifHeld: "nothing" }), { name: "ProviderError", reason: "condition", status: 412 });
    const older = await publisher.sign([], { sequence: record.says.sequence - 1n });
    const refused = await provider.put(older).catch((error) => error);
    assert.deepEqual([refused.reason, refused.status, String(refused.rank), refused.turn], ["older", 409, String(record.rank), "publisher"]);
    for (let tries = 0; (await peer.record(publisher.name)).said !== "record"; tries++) {
      assert.ok(tries < 200, "it spreads");
      await new Promise((done) => setTimeout(done, 50));
    }
    assert.equal(String((await peer.status(publisher.name)).rank), String(record.rank));
    const expired = await publisher.sign([address([192, 0, 2, 5])], { epoch: 1, sequence: 1n, expiry: 1_000 });
    await assert.rejects(provider.put(expired), { reason: "expired", status: 422, turn: "publisher" });
    await provider.put(await publisher.revoke());
    assert.equal((await provider.record(publisher.name, { fresh: true })).record.says.revoked, true);
  });

  test("an absence is signed by the provider that claims it, and by no other", async () => {
    const { name } = await Publisher.make();
    const absent = await new Resolver(providers.urls[0]).lookup(name, { signedAbsence: true });
    assert.equal(absent.said, "absent");
    const [{ status }] = absent.answers;
    assert.deepEqual([String(status.provider), String(status.name), status.rank], [providers.names[0], String(name), undefined]);
    const wrongly = new Provider(providers.urls[0], { name: providers.names[1] });
    await assert.rejects(wrongly.status(name), { reason: "broken", turn: "provider" });
    await assert.rejects(new Resolver({ providers: [wrongly] }).lookup(name, { signedAbsence: true }), { name: "LookupError", reason: "invalid" });
  });

  test("a receipt whose bytes were changed on the way is no receipt", async () => {
    const publisher = await Publisher.make();
    const changing = async (url, init) => {
      const response = await fetch(url, init);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (init.method === "PUT") bytes[bytes.length - 1] ^= 1;
      return new Response(bytes, response);
    };
    const provider = new Provider(providers.urls[0], { fetch: changing });
    await assert.rejects(provider.put(await publisher.sign([])), { name: "ReceiptError", reason: "signature", turn: "provider" });
    await assert.rejects(verifyReceipt(new Uint8Array(10)), { name: "ReceiptError", reason: "encoding" });
  });

  test("what one implementation reads the other reads, and what one refuses the other refuses for the same reason: records with something changed", async () => {
    const [publisher, other] = [await Publisher.make(2), await Publisher.make()];
    const https = fromHex("0001" + "00" + "00010003026832" + "0003000201bb"); // SvcPriority 1, its own target, alpn h2, port 443
    const payloads = [
      publisher.says([address([192, 0, 2, 1], { priority: 1, weight: 2, region: "eu-1" }), service("https", 443, { target: other.name, alpn: ["h2"], pins: [new Uint8Array(32)] })], { epoch: 2 }),
      publisher.says([delegate(other.name, "legacy.example"), dns("*._tcp", 16, [1, 97]), dns("", 64, https)], { scope: [other.name] }),
      publisher.says([opaque("text/plain;charset=utf-8", utf8("hello")), dns("", 15, [0, 1, 1, 97, 0]), dns("a", 5, [1, 98, 0])]),
      publisher.says([], { revoked: true, expiry: undefined, ttl: undefined, epoch: 1 }),
    ].map(encodePayload);
    const seed = Number(process.env.DIALTONE_SEED ?? 20);
    const records = changed(payloads, seed);
    const counts = { read: 0, refused: 0 };
    for (let batch = 0; batch < 4; batch++) {
      const sent = Array.from({ length: 1000 }, () => records.next().value);
      const body = sent.reduce((writer, record) => writer.bytes(record), new Writer().array(sent.length)).take();
      const answer = await fetch(`${providers.urls[0]}/v1/records`, { method: "POST", headers: { "content-type": "application/cbor" }, body });
      assert.equal(answer.status, 200);
      const outcomes = await answer.json();
      for (const [at, { problem }] of outcomes.entries()) {
        const ours = readingOf(sent[at]);
        const theirs = IN_READING.has(slugOf(problem)) ? slugOf(problem) : "read";
        assert.equal(ours, theirs, `seed ${seed}: ${Buffer.from(sent[at]).toString("hex")}: ${JSON.stringify(problem)}`);
        counts[ours === "read" ? "read" : "refused"]++;
      }
    }
    assert.ok(counts.read > 200 && counts.refused > 1000, JSON.stringify(counts));
  });
});

/** What refuses a record before anything but its bytes is looked at. */
const IN_READING = new Set(["malformed", "too-large", "version", "lifetime", "sequence", "key-chain"]);
const slugOf = (problem) => String(problem?.type ?? problem).replace("urn:dialtone:problem:", "");

/** The word of a provider for why this client does not read a record, or `read`. */
function readingOf(bytes) {
  try {
    new SignedRecord(bytes);
    return "read";
  } catch ({ reason }) {
    return reason === "chain" ? "key-chain" : IN_READING.has(reason) ? reason : "malformed";
  }
}
