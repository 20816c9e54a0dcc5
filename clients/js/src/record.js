/**
 * What a publisher says about a name at one time (PROTOCOL.md §4): read, written, and held against the clock.
 *
 * ```text
 * record = {1: version, 2: genesis, ? 3: [+ link], 4: sequence, ? 5: expiry, ? 6: ttl, ? 7: [+ scope], ? 8: [* binding], ? 9: true}
 * ```
 */

import { checkBindings, readBindings, writeBinding } from "./bindings.js";
import { Reader, UNCRITICAL_FROM, Writer } from "./cbor.js";
import { EncodingError, NameError, RecordError } from "./errors.js";
import { SALT_BYTES_MAX, currentKey, readChain, readGenesis, writeGenesis, writeLink } from "./keys.js";
import { Name, Scheme } from "./name.js";

/**
 * @typedef {object} Record what a record says
 * @property {import("./keys.js").Genesis} genesis what the name commits to
 * @property {readonly import("./keys.js").Link[]} chain the rotations so far: their number is the key epoch
 * @property {bigint} sequence microseconds since 1970: when it was signed, by convention
 * @property {readonly Name[]} scope the providers that may hold it, in ascending order; empty: all
 * @property {boolean} revoked the key of this epoch is lost: nothing else of the epoch counts
 * @property {number | undefined} expiry seconds since 1970; `undefined` for a revocation
 * @property {number | undefined} ttl seconds that caches may keep it; `undefined` for a revocation
 * @property {readonly import("./bindings.js").Binding[]} bindings what the name stands for; none withdraws it
 */

/** Bytes of an envelope. */
export const RECORD_BYTES_MAX = 4096;
/** Bytes of an envelope. */
export const RECORD_BYTES_MIN = 75;
/** Seconds from sequence to expiry. */
export const LIFETIME_SECS_MAX = 34_560_000;
/** Seconds that a cache honours. */
export const TTL_SECS_MAX = 604_800;
/** Seconds that a revocation may be cached. */
export const TTL_SECS_DEFAULT = 60;
/** Seconds that a record may be ahead of the clock of whoever did not take it from its publisher. */
export const FUTURE_SECS = 600;

/**
 * Reads a payload, and nothing after it.
 * @param {Uint8Array} payload
 * @returns {Record}
 * @throws {RecordError} the first thing found wrong
 */
export function decodePayload(payload) {
  try {
    return decode(payload);
  } catch (error) {
    if (error instanceof EncodingError) throw new RecordError("encoding", `payload: ${error.message}`, { cause: error });
    throw error;
  }
}

/** @param {Uint8Array} payload @returns {Record} */
function decode(payload) {
  const reader = new Reader(payload);
  /** @type {{ version?: bigint, genesis?: import("./keys.js").Genesis, sequence?: bigint, expiry?: bigint, ttl?: number, bindings?: import("./bindings.js").Binding[] }} */
  const found = {};
  /** @type {import("./keys.js").Link[]} */
  let chain = [];
  /** @type {Name[]} */
  let scope = [];
  let revoked = false;
  for (const field of reader.fields()) {
    const at = reader.position;
    if (field >= UNCRITICAL_FROM) reader.skip();
    else {
      switch (Number(field)) {
        case Field.Version:
          found.version = reader.uint();
          if (found.version !== VERSION) throw new RecordError("version", `record format version ${found.version} is not known, this reads version ${VERSION}`);
          break;
        case Field.Genesis:
          found.genesis = readGenesis(reader);
          break;
        case Field.Chain:
          chain = readChain(reader);
          break;
        case Field.Sequence:
          found.sequence = reader.uint();
          break;
        case Field.Expiry:
          found.expiry = reader.uint();
          break;
        case Field.Ttl:
          found.ttl = reader.number(0xffff_ffff);
          break;
        case Field.Scope:
          scope = readScope(reader);
          break;
        case Field.Bindings:
          found.bindings = readBindings(reader);
          break;
        case Field.Revoked:
          revoked = reader.bool();
          if (!revoked) throw new EncodingError("`revoked` that is not true", at);
          break;
        default:
          throw new RecordError("unknown-field", `field ${field} is critical and not known to this version`);
      }
    }
  }
  reader.finish();
  need(found.version, "version");
  for (const what of /** @type {const} */ (["expiry", "ttl", "bindings"])) {
    if (revoked && found[what] !== undefined) throw new RecordError("revoked-with", `a revocation has no \`${what}\``);
    if (!revoked) need(found[what], what);
  }
  const genesis = need(found.genesis, "genesis");
  const sequence = need(found.sequence, "sequence");
  checkKeys(genesis, chain, sequence, scope);
  if (!revoked) checkLife(sequence, need(found.expiry, "expiry"), found.bindings ?? []);
  return Object.freeze({
    genesis,
    chain: Object.freeze(chain),
    sequence,
    scope: Object.freeze(scope),
    revoked,
    expiry: found.expiry === undefined ? undefined : Number(found.expiry), // at most 2^62 / 10^6 and 400 days: exact
    ttl: found.ttl,
    bindings: Object.freeze(found.bindings ?? []),
  });
}

/**
 * The payload that is signed: what {@link decodePayload} reads. Fields that a reader passed over are lost.
 * @param {Record} record
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {RecordError} what could not be read is not written
 */
export function encodePayload(record) {
  const { genesis, chain, sequence, scope, revoked, expiry, ttl, bindings } = record;
  checkKeys(genesis, chain, sequence, scope);
  if (!revoked) checkLife(sequence, BigInt(need(expiry, "expiry")), bindings);
  const writer = new Writer();
  writer.map(4 + Number(chain.length > 0) + Number(scope.length > 0) + (revoked ? 0 : 2)).uint(Field.Version).uint(VERSION);
  writeGenesis(writer.uint(Field.Genesis), genesis);
  if (chain.length > 0) {
    writer.uint(Field.Chain).array(chain.length);
    chain.forEach((link) => writeLink(writer, link));
  }
  writer.uint(Field.Sequence).uint(sequence);
  if (!revoked) writer.uint(Field.Expiry).uint(need(expiry, "expiry")).uint(Field.Ttl).uint(need(ttl, "ttl"));
  if (scope.length > 0) {
    writer.uint(Field.Scope).array(scope.length);
    scope.forEach((name) => writer.bytes(name.bytes));
  }
  if (revoked) writer.uint(Field.Revoked).bool(true);
  else {
    writer.uint(Field.Bindings).array(bindings.length);
    bindings.forEach((binding) => writeBinding(writer, binding));
  }
  return writer.take();
}

/** A clock's seconds since 1970. @returns {number} */
export function nowSecs() {
  return Math.floor(Date.now() / 1000);
}

/** The second that a sequence falls in. @param {bigint} sequence */
export function secondOf(sequence) {
  return Number(sequence / MICROS);
}

/**
 * How a record stands to the present (§7): `current`, `expired`, or so far in the future that a clock is wrong.
 * @param {Record} record
 * @param {number} now seconds since 1970
 * @param {number} [tolerance] seconds
 * @returns {"current" | "expired" | "future"}
 */
export function timeliness({ sequence, expiry }, now, tolerance = FUTURE_SECS) {
  if (secondOf(sequence) - now > tolerance) return "future";
  return expiry !== undefined && expiry <= now ? "expired" : "current";
}

/** Seconds that a cache may keep it from `now` on: its TTL, at most 7 days, at most until it expires. @param {Record} record @param {number} now */
export function ttlAt({ revoked, expiry, ttl }, now) {
  if (revoked) return TTL_SECS_DEFAULT;
  return Math.max(0, Math.min(ttl ?? 0, TTL_SECS_MAX, (expiry ?? 0) - now));
}

/** When it may be forgotten, in seconds since 1970; `undefined`: never. @param {Record} record */
export function forgetAt({ revoked, sequence }) {
  return revoked ? undefined : secondOf(sequence) + LIFETIME_SECS_MAX;
}

/** @param {import("./keys.js").Genesis} genesis @param {readonly import("./keys.js").Link[]} chain @param {bigint} sequence @param {readonly Name[]} scope */
function checkKeys(genesis, chain, sequence, scope) {
  if (genesis.salt && (genesis.salt.length === 0 || genesis.salt.length > SALT_BYTES_MAX)) throw new RecordError("chain", `a salt has 1 to ${SALT_BYTES_MAX} bytes, or is left out`);
  currentKey(genesis, chain);
  if (sequence < 1n || sequence > SEQUENCE_MAX) throw new RecordError("sequence", `sequence ${sequence} is out of range (1 to 2^62 microseconds)`);
  const ordered = scope.every((name, at) => at === 0 || scope[at - 1].compare(name) < 0);
  const providers = scope.every((name) => name.scheme === Scheme.KeySet); // what cannot sign cannot provide
  if (scope.length > SCOPE_MAX || !ordered || !providers) throw refuseScope();
}

/** @param {bigint} sequence @param {bigint} expiry @param {readonly import("./bindings.js").Binding[]} bindings */
function checkLife(sequence, expiry, bindings) {
  const signed = sequence / MICROS;
  if (expiry <= signed || expiry > signed + BigInt(LIFETIME_SECS_MAX)) {
    throw new RecordError("lifetime", `expiry ${expiry} is not after the sequence (${signed}) and at most 400 days later`);
  }
  checkBindings(bindings);
}

/** @param {Reader} reader */
function readScope(reader) {
  const count = reader.array();
  if (count > BigInt(SCOPE_MAX)) throw refuseScope();
  if (count === 0n) throw new RecordError("empty-list", "an empty `scope` is left out, not written");
  return Array.from({ length: Number(count) }, () => {
    const wire = reader.bytes();
    try {
      return new Name(wire);
    } catch (error) {
      if (error instanceof NameError) throw refuseScope();
      throw error;
    }
  });
}

function refuseScope() {
  return new RecordError("scope", `scope: at most ${SCOPE_MAX} \`key-set\` names of providers in ascending order, each once`);
}

/** @template T @param {T | undefined} value @param {string} what @returns {T} */
function need(value, what) {
  if (value === undefined) throw new RecordError("missing", `the field \`${what}\` is missing`);
  return value;
}

/** The keys of a record's map. */
const Field = { Version: 1, Genesis: 2, Chain: 3, Sequence: 4, Expiry: 5, Ttl: 6, Scope: 7, Bindings: 8, Revoked: 9 };
const VERSION = 1n;
const SCOPE_MAX = 8;
const MICROS = 1_000_000n;
const SEQUENCE_MAX = 1n << 62n;
