/** From a name to endpoints: what is followed, in which order, and where it ends. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ipText, parseIp } from "../src/addresses.js";
import { LookupError } from "../src/errors.js";
import { resolve, trouble } from "../src/layers.js";
import { Publisher, address, delegate, service } from "../support/publisher.js";

/** Names and their records, and how often each was asked for. */
class World {
  records = new Map();
  asked = [];

  async name(...bindings) {
    const publisher = await Publisher.make();
    await this.set(publisher, ...bindings);
    return publisher;
  }

  async set(publisher, ...bindings) {
    this.records.set(String(publisher.name), await publisher.sign(bindings));
  }

  source = async (name) => {
    this.asked.push(String(name));
    const record = this.records.get(String(name));
    if (record instanceof Error) throw record;
    return record ? { said: "record", record, ttl: record.says.ttl, answers: [] } : { said: "absent", ttl: 10, answers: [] };
  };

  resolve({ name }, options) {
    return resolve(this.source, name, options);
  }
}

const where = ({ endpoints }) => endpoints.map(({ ip, host, port }) => `${ip ?? host}:${port ?? "-"}`);

test("a service at another name is where that name's addresses are", async () => {
  const world = new World();
  const host = await world.name(address([192, 0, 2, 7], { region: "eu" }));
  const site = await world.name(service("https", 443, { target: host.name, alpn: ["h2"], pins: [new Uint8Array(32)] }), service("ssh", 22, { target: host.name }));
  const found = await world.resolve(site, { service: "HTTPS" });
  assert.deepEqual(where(found), ["192.0.2.7:443"]);
  const [endpoint] = found.endpoints;
  assert.deepEqual([endpoint.service, endpoint.alpn, endpoint.region, endpoint.pins.length], ["https", ["h2"], "eu", 1]);
  assert.deepEqual(endpoint.path.map(String), [site, host].map(({ name }) => String(name)));
  assert.deepEqual(found.tree.children.map(({ via, service, said }) => [via, service, said]), [["service", "https", "record"]]);
  assert.equal((await world.resolve(site)).endpoints.length, 2);
  assert.deepEqual(where(await world.resolve(site, { service: "smtp" })), []);
  assert.deepEqual(where(await world.resolve(site, { transport: "udp" })), []);
});

test("a name without services has its addresses alone, without a port; a name of its own services has them at its own addresses", async () => {
  const world = new World();
  assert.deepEqual(where(await world.resolve(await world.name(address([192, 0, 2, 1])))), ["192.0.2.1:-"]);
  assert.deepEqual(where(await world.resolve(await world.name(address([192, 0, 2, 1])), { service: "https" })), []);
  assert.deepEqual(where(await world.resolve(await world.name(address([192, 0, 2, 1]), service("https", 443)))), ["192.0.2.1:443"]);
});

test("the first step of a delegate stands in, whatever else the record says, and the later ones go along", async () => {
  const world = new World();
  const box = await world.name(address([192, 0, 2, 9]));
  const last = await world.name(address([192, 0, 2, 10]));
  const site = await world.name(delegate(box.name, last.name, "legacy.example"), address([192, 0, 2, 1]));
  const found = await world.resolve(site);
  assert.deepEqual(where(found), ["192.0.2.9:-"]);
  assert.deepEqual(found.endpoints[0].onward.map(String), [String(last.name), "legacy.example"]);
  assert.ok(!world.asked.includes(String(last.name)));
  const outside = await world.name(delegate("legacy.example", box.name));
  const legacy = await world.resolve(outside);
  assert.deepEqual([where(legacy), legacy.tree.legacy], [["legacy.example:-"], "legacy.example"]);
});

test("lower priorities come first, and equals as often as their weights say", async () => {
  const world = new World();
  const site = await world.name(address([192, 0, 2, 3], { priority: 2 }), address([192, 0, 2, 1], { weight: 3 }), address([192, 0, 2, 2]));
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  let first = 0;
  for (let times = 0; times < 2000; times++) {
    const found = where(await world.resolve(site, { random }));
    assert.equal(found[2], "192.0.2.3:-");
    first += Number(found[0] === "192.0.2.1:-");
  }
  assert.ok(first > 1400 && first < 1600, `${first} of 2000, of which 1500 are its share`);
});

test("a loop ends, and is told", async () => {
  const world = new World();
  const [one, other] = [await Publisher.make(), await Publisher.make()];
  await world.set(one, delegate(other.name));
  await world.set(other, delegate(one.name));
  const found = await world.resolve(one);
  assert.deepEqual(where(found), []);
  assert.deepEqual([trouble(found.tree)?.said, String(trouble(found.tree)?.name)], ["cycle", String(one.name)]);
  assert.equal(world.asked.length, 2);
});

test("chains, fan-out and work have limits", async () => {
  const world = new World();
  const chain = await Promise.all(Array.from({ length: 50 }, () => Publisher.make()));
  for (const [at, link] of chain.entries()) await world.set(link, chain[at + 1] ? delegate(chain[at + 1].name) : address([192, 0, 2, 1]));
  assert.equal(trouble((await world.resolve(chain[0])).tree)?.said, "limit");
  assert.equal(world.asked.length, 9);
  assert.deepEqual(where(await world.resolve(chain[41])), ["192.0.2.1:-"], "eight further names are not too many");

  const hosts = await Promise.all(Array.from({ length: 60 }, () => world.name(address([192, 0, 2, 1]))));
  const wide = await world.name(...hosts.map(({ name }) => service("https", 443, { target: name })));
  world.asked.length = 0;
  assert.equal((await world.resolve(wide)).endpoints.length, 16);
  assert.equal(world.asked.length, 17);

  const spread = await Promise.all(hosts.slice(0, 16).map(async ({ name }) => world.name(delegate((await world.name(delegate(name))).name))));
  const work = await world.name(...spread.map(({ name }) => service("https", 443, { target: name })));
  world.asked.length = 0;
  const found = await world.resolve(work);
  assert.equal(world.asked.length, 32);
  assert.match(trouble(found.tree)?.reason ?? "", /too many names in one resolution/);
});

test("a name that fails on the way is told in the tree, and the others still lead somewhere", async () => {
  const world = new World();
  const [host, down, gone] = [await world.name(address([192, 0, 2, 1])), await Publisher.make(), await Publisher.make()];
  world.records.set(String(down.name), new LookupError("unreachable", "nobody answered", "network"));
  const site = await world.name(...[host, down, gone].map(({ name }) => service("https", 443, { target: name })));
  const found = await world.resolve(site);
  assert.deepEqual(where(found), ["192.0.2.1:443"]);
  assert.deepEqual(found.tree.children.map(({ said }) => said), ["record", "failed", "absent"]);
  assert.equal(found.ttl, 10, "no longer than the shortest");
  await assert.rejects(world.resolve(down), { name: "LookupError", reason: "unreachable" });
});

test("what is revoked leads nowhere", async () => {
  const world = new World();
  const site = await Publisher.make();
  world.records.set(String(site.name), await site.revoke());
  const found = await world.resolve(site);
  assert.deepEqual([found.tree.said, where(found)], ["revoked", []]);
});

test("addresses are written as RFC 5952 wants, and read back", () => {
  for (const text of ["192.0.2.1", "::", "::1", "2001:db8::1", "2001:db8:0:1:1:1:1:1", "2001:db8::1:0:0:1", "1:0:0:2::", "fe80::1:2:3:4"]) {
    assert.equal(ipText(parseIp(text)), text);
  }
  for (const text of ["", "1.2.3", "1.2.3.256", "01.2.3.4", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "g::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::"]) {
    assert.equal(parseIp(text), undefined, text);
  }
});
