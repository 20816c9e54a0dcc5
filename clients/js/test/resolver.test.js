/** Several providers, some of which are broken or lie: real HTTP servers on this machine. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { Floor, Provider, ProviderError, Resolver } from "../src/index.js";
import { nowSecs } from "../src/record.js";
import { Publisher, address } from "../support/publisher.js";

const servers = [];
after(() => servers.forEach((server) => server.close().closeAllConnections()));

/** A server that answers everything alike. @returns its URL, and how often it was asked */
async function at(answer) {
  const told = { asked: 0 };
  const server = createServer(async (request, response) => {
    told.asked++;
    const { status = 200, headers = {}, body = "", after = 0 } = (await answer(request)) ?? {};
    setTimeout(() => response.writeHead(status, headers).end(body), after).unref();
  });
  servers.push(server);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  told.url = `http://127.0.0.1:${server.address().port}`;
  return told;
}

const holds = (record, more = {}) => at(() => ({ headers: { "cache-control": "max-age=60" }, body: record.bytes, ...more }));
const problem = (slug, status, more = {}) => at(() => ({ status, headers: { "dialtone-problem": slug }, body: JSON.stringify({ title: slug, turn: "provider" }), ...more }));
const resolver = (...told) => new Resolver({ providers: told.map(({ url }) => url) });
const publisher = await Publisher.make(1);
const old = await publisher.sign([address([192, 0, 2, 1])], { sequence: BigInt(nowSecs() - 100) * 1_000_000n });
const newer = await publisher.sign([address([192, 0, 2, 2])], { sequence: BigInt(nowSecs() - 50) * 1_000_000n });

test("of what several providers say the highest rank is believed", async () => {
  const [a, b, c] = [await holds(old), await holds(newer, { after: 30 }), await problem("absent", 404)];
  const found = await resolver(a, b, c).lookup(publisher.name);
  assert.equal(String(found.record.rank), String(newer.rank));
  assert.deepEqual(found.answers.map(({ said }) => said).toSorted(), ["absent", "record", "record"]);
  const stolen = await publisher.sign([address([203, 0, 113, 66])], { sequence: BigInt(nowSecs()) * 1_000_000n });
  const owner = await publisher.sign([address([192, 0, 2, 3])], { epoch: 1, sequence: BigInt(nowSecs() - 90) * 1_000_000n });
  assert.equal((await resolver(await holds(stolen), await holds(owner)).lookup(publisher.name)).record.rank.epoch, 1);
});

test("a record that is older than one already seen is not believed, nor is its absence while somebody knows better", async () => {
  let held = newer;
  const provider = await at(() => (held ? { body: held.bytes, headers: { "cache-control": "max-age=0" } } : { status: 404, headers: { "dialtone-problem": "absent" } }));
  const one = resolver(provider);
  await one.lookup(publisher.name);
  held = old;
  await assert.rejects(one.lookup(publisher.name), { name: "LookupError", reason: "rolled-back", turn: "provider" });
  const again = new Resolver({ providers: [provider.url], floor: new Floor(one.floor) });
  await assert.rejects(again.lookup(publisher.name), { reason: "rolled-back" }, "the floor outlives the resolver");
  held = undefined;
  assert.equal((await one.lookup(publisher.name)).said, "absent", "all agree");
  const dead = new Resolver({ providers: [provider.url, (await problem("store", 503)).url], floor: one.floor });
  await assert.rejects(dead.lookup(publisher.name), { reason: "unavailable" });
});

test("what is no record of the name is never believed", async () => {
  const other = await (await Publisher.make()).sign([]);
  const changed = Uint8Array.from(newer.bytes);
  changed[changed.length - 1] ^= 1;
  for (const body of [other.bytes, changed, new Uint8Array(4096), new Uint8Array(5000), "hello", ""]) {
    await assert.rejects(resolver(await at(() => ({ body }))).lookup(publisher.name), { name: "LookupError", reason: "invalid" });
  }
  const good = await resolver(await at(() => ({ body: changed })), await holds(newer)).lookup(publisher.name);
  assert.equal(String(good.record.rank), String(newer.rank), "and does not keep what is right from being found");
});

test("an expired record and one from the future are told apart from absent ones", async () => {
  const now = nowSecs();
  const expired = await publisher.sign([], { sequence: BigInt(now - 100) * 1_000_000n, expiry: now - 1 });
  const future = await publisher.sign([], { sequence: BigInt(now + 700) * 1_000_000n });
  await assert.rejects(resolver(await holds(expired), await problem("absent", 404)).lookup(publisher.name), { reason: "expired", turn: "publisher" });
  await assert.rejects(resolver(await problem("stale", 404)).lookup(publisher.name), { reason: "expired" });
  await assert.rejects(resolver(await holds(future)).lookup(publisher.name), { reason: "invalid", turn: "publisher" });
});

test("an error is never an absence", async () => {
  for (const told of [await problem("uncertain", 503), await problem("no-such-path", 404), await at(() => ({ status: 404 })), await at(() => ({ status: 500, body: "x".repeat(100_000) }))]) {
    await assert.rejects(resolver(told).lookup(publisher.name), { name: "LookupError" });
  }
  await assert.rejects(resolver({ url: "http://127.0.0.1:1" }).lookup(publisher.name), { reason: "unreachable", turn: "network" });
  const silent = new Resolver({ providers: [new Provider((await at(() => ({ after: 10_000 }))).url, { timeoutMs: 50 })] });
  await assert.rejects(silent.lookup(publisher.name), { reason: "unreachable" });
});

test("a slow provider is waited for a moment, not for ever, once another has answered", async () => {
  const [quick, slow] = [await holds(old), await holds(newer, { after: 4_000 })];
  const found = await new Resolver({ providers: [quick.url, slow.url], gatherMs: 20 }).lookup(publisher.name);
  assert.equal(String(found.record.rank), String(old.rank));
});

test("who gives up is told at once", async () => {
  const slow = await holds(newer, { after: 4_000 });
  await assert.rejects(resolver(slow).lookup(publisher.name, { signal: AbortSignal.timeout(20) }), { name: "TimeoutError" });
});

test("answers are cached for their TTL, asked for once however many ask, and past the cache when fresh ones are wanted", async () => {
  const told = await holds(newer);
  const one = resolver(told);
  await Promise.all([1, 2, 3].map(() => one.lookup(publisher.name.toUri())));
  assert.equal((await one.lookup(publisher.name)).said, "record");
  assert.equal(told.asked, 1);
  await one.lookup(publisher.name, { fresh: true });
  assert.equal(told.asked, 2);
  one.forget();
  await one.lookup(publisher.name);
  assert.equal(told.asked, 3);
});

test("a revocation is found, and leads nowhere", async () => {
  const found = await resolver(await holds(await publisher.revoke()), await holds(newer)).resolve(publisher.name);
  assert.deepEqual([found.tree.said, found.endpoints], ["revoked", []]);
});

test("what is not a provider, and what is not a name, is refused before anybody is asked", async () => {
  for (const url of ["", "127.0.0.1:4380", "ftp://x", "http://u@h", "http://h/?q", "http://h/#f"]) assert.throws(() => new Provider(url), { name: "ProviderError", turn: "caller" }, url);
  assert.throws(() => new Resolver({ providers: [] }), ProviderError);
  await assert.rejects(new Resolver("http://127.0.0.1:1").lookup("yryy"), { name: "NameError", reason: "length", turn: "caller" });
  await assert.rejects(new Provider((await at(() => ({ body: "<html>" }))).url).info(), { reason: "not-a-provider" });
});
