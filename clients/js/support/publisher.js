/** Who publishes in tests: keys of WebCrypto, and records signed with them. */

import { commitmentTo, nameOf } from "../src/keys.js";
import { signRecord } from "../src/signed.js";

/** @typedef {import("../src/bindings.js").Binding} Binding */

/** A name with its keys: the first, and those that may follow. */
export class Publisher {
  /** @param {number} [links] */
  static async make(links = 0) {
    const keys = [];
    for (let at = 0; at <= links; at++) keys.push(await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]));
    const raw = await Promise.all(keys.map(async ({ publicKey }) => new Uint8Array(await crypto.subtle.exportKey("raw", publicKey))));
    let next;
    const chain = [];
    for (const key of raw.slice(1).toReversed()) {
      chain.unshift({ key, next });
      next = commitmentTo(chain[0]);
    }
    return new Publisher(keys, { key: raw[0], salt: undefined, next }, chain);
  }

  constructor(keys, genesis, chain) {
    this.keys = keys;
    this.genesis = genesis;
    this.chain = chain;
    this.name = nameOf(genesis);
  }

  /** What a record says; signed now and valid for an hour unless it says otherwise. */
  says(bindings, more = {}) {
    const { epoch = 0, ...rest } = more;
    const sequence = more.sequence ?? BigInt(Date.now()) * 1000n;
    const expiry = Number(sequence / 1_000_000n) + 3600;
    return { genesis: this.genesis, chain: this.chain.slice(0, epoch), sequence, scope: [], revoked: false, expiry, ttl: 60, bindings, ...rest };
  }

  /** A signed, verified record. */
  sign(bindings, more = {}) {
    return signRecord(this.says(bindings, more), this.keys[more.epoch ?? 0].privateKey);
  }

  revoke(more = {}) {
    return this.sign([], { revoked: true, expiry: undefined, ttl: undefined, ...more });
  }
}

export const address = (ip, more = {}) => ({ kind: "address", ip: Uint8Array.from(ip), priority: 0, weight: 0, region: undefined, ...more });
export const service = (label, port, more = {}) => ({
  kind: "service", label, transport: "tcp", port, target: undefined, alpn: [], priority: 0, weight: 0, pins: [], ...more,
});
export const delegate = (...path) => ({ kind: "delegate", path });
export const dns = (owner, type, rdata, ttl = 60) => ({ kind: "dns", owner, type, ttl, rdata: Uint8Array.from(rdata) });
export const opaque = (mediaType, bytes = []) => ({ kind: "opaque", mediaType, bytes: Uint8Array.from(bytes) });
