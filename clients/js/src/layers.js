/**
 * From a name to endpoints (PROTOCOL.md §17): service → endpoint → address, through delegates. Names are looked up level by level, those of
 * one level at once, each name once however many lead to it; then the tree and the endpoints are put together without asking anybody.
 */

import { ipText } from "./addresses.js";
import { DialtoneError } from "./errors.js";
import { Name } from "./name.js";

/** @typedef {import("./bindings.js").Service} Service */
/** @typedef {import("./signed.js").VerifiedRecord} VerifiedRecord */
/** @typedef {"service" | "host"} Role what part a name plays: one that offers services, or one that is a host of them */
/** @typedef {(name: Name) => Promise<import("./resolver.js").Lookup>} Source */
/** @typedef {Map<string, import("./resolver.js").Lookup | DialtoneError>} Known what was found of each name */
/**
 * @typedef {object} ResolveOptions
 * @property {string} [service] only services of this label
 * @property {import("./bindings.js").Transport} [transport] only services over this
 * @property {() => number} [random] what the weighted order among equals is drawn from; `Math.random`
 */
/**
 * @typedef {object} Node one name on the way
 * @property {Name} name
 * @property {"asked" | "service" | "delegate"} via what led to it
 * @property {string | undefined} service the label of the service that led to it
 * @property {"record" | "revoked" | "absent" | "failed" | "cycle" | "limit"} said what was found
 * @property {string | undefined} reason why nothing was found, where that is known
 * @property {DialtoneError | undefined} error the same, as an error
 * @property {number | undefined} ttl seconds that it may be kept
 * @property {VerifiedRecord | undefined} record
 * @property {import("./resolver.js").Answer[]} answers what each provider said
 * @property {string | undefined} legacy a DNS name that it led to
 * @property {Node[]} children where it led
 */
/**
 * @typedef {object} Endpoint somewhere to go
 * @property {string | undefined} ip an address
 * @property {string | undefined} host or a DNS name, which the system's resolver knows
 * @property {number | undefined} port
 * @property {import("./bindings.js").Transport | undefined} transport
 * @property {string | undefined} service
 * @property {readonly string[]} alpn
 * @property {readonly Uint8Array[]} pins SHA-256 of the SubjectPublicKeyInfos that it may present; empty: any
 * @property {string | undefined} region
 * @property {readonly Name[]} path the names that led here, the asked one first
 * @property {readonly import("./bindings.js").Step[]} onward where traffic is to be directed to from there on
 */
/**
 * @typedef {object} Resolution what a name came to
 * @property {Node} tree which record said what
 * @property {Endpoint[]} endpoints where to go, best first
 * @property {number} ttl seconds that all of it may be kept
 */

/** Deepest chain of names in one resolution. */
export const DEPTH_MAX = 8;
/** Most other names that are followed from one record. */
export const FANOUT_MAX = 16;
/** Most names looked up in one resolution. */
export const LOOKUPS_MAX = 32;
/** Most endpoints that a resolution returns. */
export const ENDPOINTS_MAX = 64;

/**
 * Looks up whatever `name` leads to, and puts the endpoints in order.
 * @param {Source} source
 * @param {Name} name
 * @param {ResolveOptions} [options]
 * @returns {Promise<Resolution>}
 */
export async function resolve(source, name, options = {}) {
  const known = await gather(source, name, options);
  const first = known.get(String(name));
  if (first instanceof Error) throw first;
  const walk = new Walk(known, options);
  const [tree, endpoints] = walk.visit(name, "asked", undefined, "service");
  return { tree, endpoints: endpoints.slice(0, ENDPOINTS_MAX), ttl: walk.ttl ?? 0 };
}

/** @param {Source} source @param {Name} name @param {ResolveOptions} options @returns {Promise<Known>} */
async function gather(source, name, options) {
  /** @type {Known} */
  const known = new Map();
  const seen = new Set([`service ${name}`]);
  /** @type {{ name: Name, role: Role }[]} */
  let level = [{ name, role: "service" }];
  for (let depth = 0; depth <= DEPTH_MAX && level.length > 0; depth++) {
    /** @type {Map<string, Name>} */
    const wanted = new Map();
    for (const { name } of level) {
      if (!known.has(String(name)) && known.size + wanted.size < LOOKUPS_MAX) wanted.set(String(name), name);
    }
    await Promise.all(Array.from(wanted, async ([key, name]) => known.set(key, await found(source, name))));
    const next = [];
    for (const { name, role } of level) {
      const record = recordOf(known.get(String(name)));
      for (const child of record ? childrenOf(record, role, options) : []) {
        const key = `${child.role} ${child.name}`;
        if (!seen.has(key)) next.push(child);
        seen.add(key);
      }
    }
    level = next;
  }
  return known;
}

/** @param {Source} source @param {Name} name */
async function found(source, name) {
  try {
    return await source(name);
  } catch (error) {
    if (error instanceof DialtoneError) return error;
    throw error;
  }
}

/** @param {import("./resolver.js").Lookup | DialtoneError | undefined} lookup */
function recordOf(lookup) {
  return lookup && !(lookup instanceof Error) && lookup.said === "record" ? lookup.record : undefined;
}

/**
 * The other names that a record leads to, each once.
 * @param {VerifiedRecord} record
 * @param {Role} role
 * @param {ResolveOptions} options
 * @returns {{ name: Name, via: "service" | "delegate", service: string | undefined, role: Role }[]}
 */
function childrenOf(record, role, options) {
  const delegate = delegateOf(record);
  if (delegate) {
    const [first] = delegate.path;
    return first instanceof Name ? [{ name: first, via: "delegate", service: undefined, role }] : [];
  }
  /** @type {Map<string, { name: Name, via: "service", service: string, role: Role }>} */
  const found = new Map();
  for (const { target, label } of role === "service" ? servicesOf(record, options) : []) {
    const follow = target && !target.equals(record.name) && !found.has(String(target)) && found.size < FANOUT_MAX;
    if (follow) found.set(String(target), { name: target, via: "service", service: label, role: "host" });
  }
  return [...found.values()];
}

/** A walk over what was found. */
class Walk {
  /** @type {number | undefined} */
  ttl;
  /** @type {Name[]} */
  #path = [];
  #known;
  #options;

  /** @param {Known} known @param {ResolveOptions} options */
  constructor(known, options) {
    this.#known = known;
    this.#options = options;
  }

  /**
   * @param {Name} name
   * @param {Node["via"]} via
   * @param {string | undefined} service
   * @param {Role} role
   * @returns {[Node, Endpoint[]]}
   */
  visit(name, via, service, role) {
    /** @type {Node} */
    const node = { name, via, service, said: "cycle", reason: undefined, error: undefined, ttl: undefined, record: undefined, answers: [], legacy: undefined, children: [] };
    if (this.#path.some((before) => before.equals(name))) return [{ ...node, reason: "it leads back to itself" }, []];
    if (this.#path.length > DEPTH_MAX) return [{ ...node, said: "limit", reason: "too many names in a row" }, []];
    const lookup = this.#known.get(String(name));
    if (!lookup) return [{ ...node, said: "limit", reason: "too many names in one resolution" }, []];
    if (lookup instanceof Error) return [{ ...node, said: "failed", reason: lookup.message, error: lookup }, []];
    this.ttl = Math.min(this.ttl ?? Infinity, lookup.ttl);
    node.ttl = lookup.ttl;
    node.answers = lookup.answers;
    if (lookup.said === "absent") return [{ ...node, said: "absent", reason: "there is no record of it" }, []];
    const { record } = lookup;
    node.said = record.says.revoked ? "revoked" : "record";
    node.record = record;
    this.#path.push(name);
    const endpoints = delegateOf(record) ? this.#follow(record, role, node) : this.#offered(record, role, node);
    this.#path.pop();
    return [node, endpoints];
  }

  /** Whoever stands in for the name. @param {VerifiedRecord} record @param {Role} role @param {Node} node @returns {Endpoint[]} */
  #follow(record, role, node) {
    const [first, ...onward] = delegateOf(record)?.path ?? [];
    /** @type {Endpoint[]} */
    let endpoints;
    if (first instanceof Name) {
      const [child, found] = this.visit(first, "delegate", undefined, role);
      node.children.push(child);
      endpoints = found;
    } else {
      node.legacy = first;
      endpoints = [this.#bare({ host: first })];
    }
    return endpoints.map((endpoint) => ({ ...endpoint, onward: [...endpoint.onward, ...onward] }));
  }

  /** What the record itself offers. @param {VerifiedRecord} record @param {Role} role @param {Node} node @returns {Endpoint[]} */
  #offered(record, role, node) {
    const offersAny = record.says.bindings.some(({ kind }) => kind === "service");
    if (role === "host" || (!offersAny && this.#options.service === undefined)) return this.#addresses(record);
    /** @type {Map<string, Endpoint[]>} */
    const hosts = new Map();
    for (const { name, via, service, role } of childrenOf(record, "service", this.#options)) {
      const [child, endpoints] = this.visit(name, via, service, role);
      node.children.push(child);
      hosts.set(String(name), endpoints);
    }
    return this.#draw(servicesOf(record, this.#options)).flatMap((service) => {
      const { target, port, transport, label, alpn, pins } = service;
      // One beyond the fan-out was not followed.
      const at = !target || target.equals(record.name) ? this.#addresses(record) : (hosts.get(String(target)) ?? []);
      return at.map((endpoint) => ({ ...endpoint, port, transport, service: label, alpn, pins }));
    });
  }

  /** @param {VerifiedRecord} record @returns {Endpoint[]} */
  #addresses(record) {
    const addresses = record.says.bindings.flatMap((binding) => (binding.kind === "address" ? [binding] : []));
    return this.#draw(addresses).map(({ ip, region }) => this.#bare({ ip: ipText(ip), region }));
  }

  /** @param {Partial<Endpoint>} where @returns {Endpoint} */
  #bare(where) {
    const none = { ip: undefined, host: undefined, port: undefined, transport: undefined, service: undefined, region: undefined };
    return { ...none, alpn: [], pins: [], path: [...this.#path], onward: [], ...where };
  }

  /**
   * Lower priorities first; among equals drawn by weight, each first as often as its share (as RFC 2782 means it); 0 counts as 1.
   * @template {{ priority: number, weight: number }} T
   * @param {T[]} of
   * @returns {T[]}
   */
  #draw(of) {
    const random = this.#options.random ?? Math.random;
    // Exponential clocks: the smallest of −ln(u)/weight is each one's with probability weight/total.
    const drawn = of.map((one) => ({ one, clock: -Math.log(1 - random()) / Math.max(one.weight, 1) }));
    drawn.sort((a, b) => a.one.priority - b.one.priority || a.clock - b.clock);
    return drawn.map(({ one }) => one);
  }
}

/** The first thing on the way that is not right: why there are fewer endpoints than there could be. @param {Node} node @returns {Node | undefined} */
export function trouble(node) {
  return node.said === "record" ? node.children.map(trouble).find((found) => found) : node;
}

/** @param {VerifiedRecord} record */
function delegateOf(record) {
  for (const binding of record.says.bindings) if (binding.kind === "delegate") return binding;
  return undefined;
}

/** @param {VerifiedRecord} record @param {ResolveOptions} options @returns {Service[]} */
function servicesOf(record, { service, transport }) {
  const label = service?.toLowerCase();
  return record.says.bindings.flatMap((binding) => {
    const fits = binding.kind === "service" && (label === undefined || binding.label === label) && (!transport || binding.transport === transport);
    return fits ? [binding] : [];
  });
}
