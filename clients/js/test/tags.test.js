/** Host Identity Tags: made here, looked up at providers, and never believed for who says them. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { fromHex, toHex, utf8 } from "../src/bytes.js";
import { Floor, Hit, Resolver } from "../src/index.js";
import { cshake128 } from "../src/keccak.js";
import { BINARY, Providers } from "../support/providers.js";
import { Publisher, address } from "../support/publisher.js";

const skip = BINARY ? false : "NOT TRIED: set DIALTONE_BIN to the path of the binary `dialtone`";
if (skip) console.error(`# test/tags.test.js: ${skip}`);

test("cSHAKE128 gives what NIST's samples say, also of more than one block", () => {
  const context = utf8("Email Signature");
  const counted = (length) => Uint8Array.from({ length }, (_, at) => at);
  assert.equal(toHex(cshake128(counted(4), 32, context)), "c1c36925b6409a04f1b504fcbca9d82b4017277cb5ed2b2065fc1d3814d5aaf5");
  assert.equal(toHex(cshake128(counted(200), 32, context)), "c5221d50e4f822d96a2e8881a961420f294b7b24fe3d2094baed2c6524cc166b");
});

test("what is no tag of an Ed25519 key is refused", () => {
  for (const text of ["2001:db8::1", "2001:22::1", "192.0.2.1", "2001:25", "", "yrn4re8g7fo4x34dq7ote8szzaqjtyqyd5nq9m6npcdsoc4n1ednkqtx"]) {
    assert.throws(() => Hit.parse(text), { name: "NameError", reason: "tag", turn: "caller" }, text);
  }
  assert.deepEqual(["2001:db8::1", "dialtone:yrn4", "192.0.2.1", "name.dialtone.alt"].map(Hit.isMeant), [true, false, false, false]);
  assert.throws(() => new Hit(fromHex("2001002500")), { reason: "tag" });
});

test("a record whose key has another tag is not believed, nor one that is revoked or older than one already seen", async () => {
  const [publisher, other] = [await Publisher.make(), await Publisher.make()];
  const [old, newer] = [await publisher.sign([address([192, 0, 2, 1])], { sequence: BigInt(Date.now() - 9_000) * 1000n }), await publisher.sign([])];
  let says = newer;
  const server = createServer((_, response) => response.end(says.bytes));
  after(() => server.close().closeAllConnections());
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const floor = new Floor();
  const resolver = new Resolver({ providers: [`http://127.0.0.1:${server.address().port}`], floor });
  const hit = Hit.of(newer.key);
  assert.equal(String((await resolver.lookupByHit(String(hit))).record.rank), String(newer.rank));
  assert.equal(String(floor.rank(publisher.name)), String(newer.rank), "it is the floor of the name, as if that had been asked for");
  for (const [lie, reason] of [[await other.sign([]), "invalid"], [await publisher.revoke(), "invalid"], [old, "rolled-back"]]) {
    says = lie;
    await assert.rejects(resolver.lookupByHit(hit), { name: "LookupError", reason, turn: "provider" });
  }
});

describe("real providers", { skip }, () => {
  /** @type {Providers} */
  let providers;
  before(async () => (providers = await Providers.start()));
  after(() => providers?.stop());

  test("the tag that the command shows leads to the name at the other provider, until the key is rotated away", async () => {
    const name = await providers.key("tagged.key");
    await providers.publish("tagged.key", "--address", "192.0.2.7");
    const { hit } = await providers.run("key", "show", `${providers.folder}/tagged.key`, "--json");
    const resolver = new Resolver(providers.urls[1]);
    const { record } = await resolver.lookupByHit(hit);
    assert.deepEqual([String(record.name), String(Hit.of(record.key))], [name, hit]);
    await providers.run("key", "rotate", `${providers.folder}/tagged.key`);
    await providers.publish("tagged.key", "--address", "192.0.2.7");
    assert.equal((await resolver.lookupByHit(hit)).said, "absent");
    const next = (await resolver.lookup(name, { fresh: true })).record.key;
    assert.equal(String((await resolver.lookupByHit(Hit.of(next))).record.name), name);
  });
});
