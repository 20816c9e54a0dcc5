/**
 * A resolver that verifies: asks several providers at once, takes the highest rank, never believes a rollback, and caches for the TTL.
 *
 * ```text
 * lookup ─▶ cached? ─▶ being asked? ─▶ all providers at once ─▶ verified, current, not below the floor ─▶ highest rank
 * ```
 */

import { DialtoneError, LookupError, ProviderError } from "./errors.js";
import { Floor } from "./floor.js";
import { Hit } from "./hip.js";
import * as layers from "./layers.js";
import { Name } from "./name.js";
import { Provider } from "./provider.js";
import { nowSecs, timeliness, ttlAt } from "./record.js";

/**
 * @typedef {object} ResolverOptions
 * @property {Iterable<string | URL | Provider>} providers whom to ask; 1 to 16
 * @property {Floor} [floor] the highest ranks seen so far
 * @property {number} [gatherMs] how long the others are waited for once one has answered with a record; 250
 * @property {typeof globalThis.fetch} [fetch] another fetch than the platform's
 */
/**
 * @typedef {object} Answer what one provider said
 * @property {string} provider its URL
 * @property {"record" | "absent" | "failed"} said
 * @property {import("./signed.js").VerifiedRecord} [record]
 * @property {number} [ttl] seconds that the record may be kept
 * @property {import("./receipts.js").Status} [status] its signed word that it holds nothing, where that was asked for
 * @property {DialtoneError} [error] why it failed
 */
/** @typedef {{ said: "record", record: import("./signed.js").VerifiedRecord, ttl: number, answers: Answer[] }} Found it may be a revocation */
/** @typedef {{ said: "absent", ttl: number, answers: Answer[] }} Absent */
/** @typedef {Found | Absent} Lookup a certain answer, how many seconds it may be kept, and who said what */
/**
 * @typedef {object} LookupOptions
 * @property {AbortSignal} [signal]
 * @property {boolean} [fresh] past every cache
 * @property {boolean} [signedAbsence] an absence must be signed by the provider that claims it
 */

/** Providers that one resolver asks at most: more than a few only make failing slower. */
export const PROVIDERS_MAX = 16;

/** Finds the records of names. */
export class Resolver {
  /** @type {Map<string, { lookup: Lookup, until: number }>} */
  #cache = new Map();
  /** @type {Map<string, Promise<Lookup>>} */
  #flying = new Map();
  #gatherMs;

  /** @param {ResolverOptions | string | URL} options or the URL of the one provider */
  constructor(options) {
    const given = typeof options === "string" || options instanceof URL ? { providers: [options] } : options;
    const { providers, floor = new Floor(), gatherMs = GATHER_MS, fetch } = /** @type {ResolverOptions} */ (given);
    /** Whom it asks. @type {readonly Provider[]} */
    this.providers = Object.freeze(Array.from(providers, (at) => (at instanceof Provider ? at : new Provider(at, { fetch }))));
    if (this.providers.length < 1 || this.providers.length > PROVIDERS_MAX) {
      throw new ProviderError("url", `a resolver asks 1 to ${PROVIDERS_MAX} providers`, "caller");
    }
    /** The highest ranks seen. */
    this.floor = floor;
    this.#gatherMs = gatherMs;
  }

  /**
   * The highest-ranking record of a name, verified.
   * @param {Name | string} given
   * @param {LookupOptions} [options]
   * @returns {Promise<Lookup>}
   * @throws {LookupError} nothing certain can be said; never means "absent"
   */
  async lookup(given, options = {}) {
    const name = Name.parse(given);
    const key = String(name);
    const known = this.#cache.get(key);
    const left = known ? known.until - Date.now() : 0;
    if (known && left > 0 && !options.fresh && !options.signedAbsence) return { ...known.lookup, ttl: Math.ceil(left / 1000) };
    // One who may give up, or wants more than others, asks alone.
    if (options.fresh || options.signedAbsence || options.signal) return this.#ask(name, options);
    let flying = this.#flying.get(key);
    if (!flying) {
      if (this.#flying.size >= LOOKUPS_MAX) throw new LookupError("busy", "too many lookups at once", "caller");
      flying = this.#ask(name, options).finally(() => this.#flying.delete(key));
      this.#flying.set(key, flying);
    }
    return flying;
  }

  /**
   * The record of highest rank among those of names whose key has this tag now (§19), verified; the tag is made anew here. Asked every time: which
   * name has a tag changes with every rotation. An absence by tag is nobody's signed word.
   * @param {Hit | string} given
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Lookup>}
   * @throws {LookupError} nothing certain can be said; never means "absent"
   */
  async lookupByHit(given, options = {}) {
    return this.#ask(Hit.parse(given), { ...options, fresh: true });
  }

  /**
   * Where a name leads: service → endpoint → address, through delegates, every record verified.
   * @param {Name | string} given
   * @param {layers.ResolveOptions & LookupOptions} [options]
   * @returns {Promise<layers.Resolution>}
   * @throws {LookupError} nothing certain can be said about the name itself; troubles further on stand in the tree
   */
  async resolve(given, options = {}) {
    const { signal, fresh, signedAbsence } = options;
    return layers.resolve((name) => this.lookup(name, { signal, fresh, signedAbsence }), Name.parse(given), options);
  }

  /** Forgets cached answers; the floor stays. */
  forget() {
    this.#cache.clear();
  }

  /** @param {Name | Hit} sought @param {LookupOptions} options @returns {Promise<Lookup>} */
  async #ask(sought, options) {
    const answers = await this.#gather(this.providers.map((provider) => this.#askOne(provider, sought, options)));
    options.signal?.throwIfAborted();
    const lookup = this.#judge(sought, answers);
    const name = lookup.said === "record" ? lookup.record.name : sought;
    if (name instanceof Hit) return lookup;
    this.#cache.delete(String(name));
    if (lookup.ttl > 0) this.#cache.set(String(name), { lookup, until: Date.now() + lookup.ttl * 1000 });
    if (this.#cache.size > CACHE_MAX) this.#cache.delete(/** @type {string} */ (this.#cache.keys().next().value));
    return lookup;
  }

  /** All answers, or those that are there a moment after the first record. @param {Promise<Answer>[]} asked @returns {Promise<Answer[]>} */
  async #gather(asked) {
    /** @type {Answer[]} */
    const answers = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    await new Promise((/** @type {(value?: unknown) => void} */ done) => {
      for (const one of asked) {
        one.then((answer) => {
          answers.push(answer);
          if (answers.length === asked.length) done();
          else if (answer.said === "record") timer ??= setTimeout(done, this.#gatherMs);
        });
      }
    });
    clearTimeout(timer);
    return [...answers]; // whoever is later is too late
  }

  /** @param {Provider} provider @param {Name | Hit} sought @param {LookupOptions} options @returns {Promise<Answer>} never fails */
  async #askOne(provider, sought, options) {
    try {
      const found = await (sought instanceof Hit ? provider.recordByHit(sought, options) : provider.record(sought, options));
      if (found.said === "expired") throw new LookupError("expired", "the record expired and none newer is known", "publisher");
      if (found.said === "absent") return { provider: provider.url, said: "absent", status: await this.#signed(provider, sought, options) };
      const { record } = found;
      const { name } = record;
      const now = nowSecs();
      // What is rolled back is the publisher's word all the same: it is told apart from what is invalid.
      const below = (this.floor.rank(name) && record.rank.compareOrder(/** @type {import("./rank.js").Rank} */ (this.floor.rank(name))) < 0) ?? false;
      if (below) throw new LookupError("rolled-back", "a record older than one already seen was answered", "provider");
      const when = timeliness(record.says, now);
      if (when === "future") throw new LookupError("invalid", "the record was signed in the future: the publisher's clock is wrong, or this machine's", "publisher");
      if (when === "expired") {
        this.floor.raise(name, record.rank);
        throw new LookupError("expired", "the record expired and none newer is known", "publisher");
      }
      return { provider: provider.url, said: "record", record, ttl: Math.min(ttlAt(record.says, now), found.ttl ?? Infinity) };
    } catch (error) {
      const known = error instanceof DialtoneError ? error : new ProviderError("unreachable", String(error), "network", { cause: error });
      return { provider: provider.url, said: "failed", error: known };
    }
  }

  /** @param {Provider} provider @param {Name | Hit} name @param {LookupOptions} options */
  async #signed(provider, name, options) {
    if (!options.signedAbsence || name instanceof Hit) return undefined;
    const status = await provider.status(name, options);
    if (status.rank) throw new LookupError("unavailable", "it says that there is no record, and signs that it holds one", "provider");
    return status;
  }

  /** @param {Name | Hit} sought @param {Answer[]} answers @returns {Lookup} */
  #judge(sought, answers) {
    const seen = sought instanceof Name && this.floor.rank(sought) !== undefined;
    const [best] = answers.flatMap(({ record, ttl }) => (record ? [{ record, ttl: ttl ?? 0 }] : [])).sort((one, other) => other.record.compareRank(one.record));
    if (best) {
      this.floor.raise(best.record.name, best.record.rank);
      return { said: "record", ...best, answers };
    }
    const errors = answers.flatMap(({ error }) => (error ? [lookupErrorOf(error)] : [])).sort((one, other) => WEIGHT.indexOf(other.reason) - WEIGHT.indexOf(one.reason));
    const [worst] = errors;
    const absent = answers.some(({ said }) => said === "absent");
    const tells = worst && ["expired", "rolled-back"].includes(worst.reason);
    // Of a name that was seen before an absence is believed when nobody knows better.
    if (absent && !tells && (!seen || !worst)) return { said: "absent", ttl: NEGATIVE_TTL_SECS, answers };
    throw new LookupError(worst?.reason ?? "unreachable", `${sought}: ${worst?.message ?? "nobody answered"}`, worst?.turn ?? "network", answers);
  }
}

/** What a provider's failure means for the lookup. @param {DialtoneError} error */
function lookupErrorOf(error) {
  if (error instanceof LookupError) return error;
  const reason = !(error instanceof ProviderError) || error.reason === "broken" ? "invalid" : error.turn === "network" ? "unreachable" : "unavailable";
  return new LookupError(reason, error.message, reason === "invalid" ? "provider" : error.turn);
}

/** Which of several errors says most: what is known about the name before what is known about the providers. */
const WEIGHT = ["busy", "unreachable", "unavailable", "invalid", "expired", "rolled-back"];
/** As short as the providers' own: a new name must not stay hidden. */
const NEGATIVE_TTL_SECS = 10;
const GATHER_MS = 250;
/** With records of 400 bytes, less than a megabyte. */
const CACHE_MAX = 1024;
/** Each is a request to each provider. */
const LOOKUPS_MAX = 256;
