/**
 * Bindings: the entries of a record (PROTOCOL.md §5). Each is a CBOR map whose field 0 says what kind it is. Fields that have a default
 * are left out when they have it.
 */

import { Reader, UNCRITICAL_FROM, Writer } from "./cbor.js";
import { DialtoneError, EncodingError, RecordError } from "./errors.js";
import { Name, Scheme } from "./name.js";
import { refuseRdata } from "./rdata.js";

/** @typedef {"tcp" | "udp"} Transport */
/**
 * @typedef {object} Address where it is now
 * @property {"address"} kind
 * @property {Uint8Array} ip 4 or 16 bytes
 * @property {number} priority lower is preferred
 * @property {number} weight share among those of equal priority; 0 counts as 1
 * @property {string | undefined} region as the publisher calls it
 */
/**
 * @typedef {object} Service what it offers
 * @property {"service"} kind
 * @property {string} label an IANA service name
 * @property {Transport} transport
 * @property {number} port
 * @property {Name | undefined} target at whose addresses it is; `undefined`: at those of this record
 * @property {string[]} alpn application protocols, preferred first
 * @property {number} priority lower is preferred
 * @property {number} weight share among those of equal priority; 0 counts as 1
 * @property {Uint8Array[]} pins SHA-256 of the SubjectPublicKeyInfos that it may present
 */
/** @typedef {Name | string} Step a flat name, or a legacy DNS name */
/** @typedef {{ kind: "delegate", path: Step[] }} Delegate who stands in for it: an ordered path */
/** @typedef {{ kind: "dns", owner: string, type: number, ttl: number, rdata: Uint8Array }} DnsData a DNS record under the name */
/** @typedef {{ kind: "opaque", mediaType: string, bytes: Uint8Array }} Opaque bytes with a media type */
/** @typedef {Address | Service | Delegate | DnsData | Opaque} Binding */

/** Bindings of a record, those of unknown kinds included. */
export const BINDINGS_MAX = 64;

/**
 * Reads one.
 * @param {Reader} reader
 * @returns {Binding | undefined} `undefined`: of an uncritical kind that is not known
 */
function read(reader) {
  const start = reader.position;
  const fields = reader.fields();
  if (fields.next().value !== 0n) throw new EncodingError("a binding without a kind", start);
  const kind = reader.uint();
  if (kind >= UNCRITICAL_FROM) {
    while (!fields.next().done) reader.skip();
    return undefined;
  }
  const shape = SHAPES.find((shape) => shape.number === kind);
  if (!shape) throw refused(`binding kind ${kind} is critical and not known to this version`);
  /** @type {any} */
  const binding = { kind: shape.kind, ...shape.defaults() };
  const missing = new Set(Object.keys(shape.fields));
  for (const field of fields) {
    const entry = Object.entries(shape.fields).find(([, { number }]) => BigInt(number) === field);
    if (entry) {
      const [name, { read }] = entry;
      binding[name] = read(reader);
      missing.delete(name);
    } else if (field >= UNCRITICAL_FROM) {
      reader.skip();
    } else {
      throw refused(`field ${field} is critical and not known to this version`);
    }
  }
  for (const name of missing) {
    if (!(name in binding)) throw refused(`\`${name}\` is missing`);
  }
  return Object.freeze(binding);
}

/** @param {Writer} writer @param {Binding} binding */
export function writeBinding(writer, binding) {
  const shape = SHAPES.find((shape) => shape.kind === binding.kind);
  if (!shape) throw refused(`\`${/** @type {any} */ (binding).kind}\` is no kind of binding`);
  const values = /** @type {Record<string, any>} */ (binding);
  const written = Object.entries(shape.fields).filter(([name, { optional }]) => !optional || !isDefault(values[name]));
  writer.map(1 + written.length).uint(0).uint(shape.number);
  for (const [name, { number, write }] of written) write(writer.uint(number), values[name]);
}

/** @param {unknown} value */
function isDefault(value) {
  return value === undefined || value === 0 || (Array.isArray(value) && value.length === 0);
}

/** Field 8 of a record. @param {Reader} reader @returns {Binding[]} @throws {RecordError} */
export function readBindings(reader) {
  const count = reader.array();
  if (count > BigInt(BINDINGS_MAX)) throw new RecordError("too-many-bindings", `${count} bindings are more than a record may have (${BINDINGS_MAX})`);
  const bindings = [];
  for (let index = 1; index <= Number(count); index++) {
    const binding = numbered(index, () => read(reader));
    if (binding) bindings.push(binding);
  }
  return bindings;
}

/** Every rule that the shape alone does not say. @param {readonly Binding[]} bindings @throws {RecordError} `binding` or `too-many-bindings` */
export function checkBindings(bindings) {
  if (bindings.length > BINDINGS_MAX) throw new RecordError("too-many-bindings", `${bindings.length} bindings are more than a record may have (${BINDINGS_MAX})`);
  bindings.forEach((binding, at) => numbered(at + 1, () => check(binding)));
  bindings.forEach((binding, at) => numbered(at + 1, () => checkBeside(binding, at, bindings)));
}

/** @template T @param {number} index from 1 @param {() => T} act @returns {T} */
function numbered(index, act) {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof DialtoneError)) throw error;
    throw new RecordError("binding", `binding ${index}: ${error.message}`, { cause: error });
  }
}

/** @param {Binding} binding */
function check(binding) {
  switch (binding.kind) {
    case "address":
      if (isMapped(binding.ip)) throw refused("`ip`: an IPv4 address has 4 bytes, not its IPv4-mapped IPv6 form");
      if (binding.region !== undefined && !/^[a-z0-9-]{1,16}$/.test(binding.region)) throw refused("`region`: 1 to 16 lower-case letters, digits or `-`");
      return;
    case "service":
      if (!isLabel(binding.label)) throw refused("`label`: 1 to 15 lower-case letters, digits or inner `-`, with a letter among them");
      if (binding.port === 0) throw refused("`port`: 1 to 65535");
      if (binding.target && binding.target.scheme !== Scheme.KeySet) throw refused("`target`: a `key-set` name: content has no addresses");
      if (binding.alpn.length > ALPN_MAX || !binding.alpn.every((id) => /^[!-~]{1,32}$/.test(id))) throw refused("`alpn`: at most 8 ids of 1 to 32 printable ASCII characters");
      if (binding.pins.length > PINS_MAX) throw refused("`pins`: at most 6");
      return;
    case "delegate":
      if (binding.path.length === 0 || binding.path.length > STEPS_MAX) throw refused("`path`: 1 to 8 steps");
      if (!binding.path.every((step) => step instanceof Name || isDnsName(step))) {
        throw refused("`path`: a legacy step is a lower-case DNS name (no IP address) of at most 253 characters without a final dot");
      }
      return;
    case "dns": {
      if (!isOwner(binding.owner)) throw refused("`owner`: lower-case labels of letters, digits, `-` and `_`, at most 100 characters; `*` may stand first");
      const why = refuseRdata(binding.type, binding.rdata);
      if (why) throw refused(why);
      return;
    }
    case "opaque":
      if (!isMediaType(binding.mediaType)) throw refused("`media type`: `type/subtype`, parameters after it, in at most 64 printable ASCII characters");
  }
}

/** Rules between the bindings of one record. @param {Binding} binding @param {number} at @param {readonly Binding[]} all */
function checkBeside(binding, at, all) {
  if (binding.kind === "delegate" && all.findIndex((other) => other.kind === "delegate") < at) {
    throw refused("a name has one delegate: put the steps into one path");
  }
  if (binding.kind === "dns" && binding.type === CNAME) {
    const { owner } = binding;
    const beside = all.some((other) => other !== binding && (other.kind === "dns" ? other.owner === owner : other.kind !== "opaque" && owner === ""));
    if (beside) throw refused(`a CNAME stands alone: the owner ${JSON.stringify(owner)} has other data too`);
  }
}

/** ::ffff:0:0/96. @param {Uint8Array} ip */
function isMapped(ip) {
  return ip.length === 16 && ip.subarray(0, 10).every((byte) => byte === 0) && ip[10] === 0xff && ip[11] === 0xff;
}

/** RFC 6335 §5.1, in lower case. @param {string} label */
function isLabel(label) {
  return /^(?=.*[a-z])[a-z0-9-]{1,15}$/.test(label) && !/^-|-$|--/.test(label);
}

/** A legacy DNS name as a record writes it; a last label of digits alone would be an IPv4 address (RFC 1123 §2.1). @param {string} text */
function isDnsName(text) {
  return text.length <= 253 && areLabels(text) && !/(?:^|\.)\d+$/.test(text);
}

/** @param {string} owner */
function isOwner(owner) {
  if (owner.length > 100) return false;
  return owner === "" || owner === "*" || areLabels(owner.startsWith("*.") ? owner.slice(2) : owner);
}

/** @param {string} text */
function areLabels(text) {
  return text.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
}

/** Type and subtype of RFC 6838 §4.2, then whatever parameters. @param {string} text */
function isMediaType(text) {
  return /^[ -~]{1,64}$/.test(text) && /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+ *(?:;.*)?$/.test(text);
}

/** @param {string} message */
function refused(message) {
  return new RecordError("binding", message);
}

/** @param {Reader} reader 0 is the default and has one spelling: left out */
function readNonzero(reader) {
  const value = reader.number(0xffff);
  if (value === 0) throw refused("`priority or weight`: 0 is left out");
  return value;
}

/** @template T @param {number} most @param {(reader: Reader) => T} item @returns {(reader: Reader) => T[]} */
function listOf(most, item) {
  return (reader) => {
    const count = reader.array();
    if (count === 0n || count > BigInt(most)) throw refused("a list is left out when empty, and bounded");
    return Array.from({ length: Number(count) }, () => item(reader));
  };
}

/** @param {Reader} reader */
function readName(reader) {
  return new Name(reader.bytes());
}

/** @param {Reader} reader */
function readIp(reader) {
  const ip = reader.bytes();
  if (ip.length !== 4 && ip.length !== 16) throw refused("`ip`: 4 or 16 bytes");
  return ip;
}

/** @param {Reader} reader @returns {Transport} */
function readTransport(reader) {
  const number = reader.uint();
  if (number !== 6n && number !== 17n) throw refused("`transport`: 6 (TCP) or 17 (UDP)");
  return number === 6n ? "tcp" : "udp";
}

/** @param {Writer} writer @param {string[]} texts */
const writeTexts = (writer, texts) => texts.reduce((writer, text) => writer.text(text), writer.array(texts.length));
/** @param {Writer} writer @param {Uint8Array[]} many */
const writeMany = (writer, many) => many.reduce((writer, bytes) => writer.bytes(bytes), writer.array(many.length));
/** @param {Writer} writer @param {Step[]} path */
const writePath = (writer, path) => path.reduce((writer, step) => (step instanceof Name ? writer.bytes(step.bytes) : writer.text(step)), writer.array(path.length));

/** @typedef {{ number: number, optional?: true, read: (reader: Reader) => unknown, write: (writer: Writer, value: any) => unknown }} Field */

/** @type {(number: number, most: number) => Field} */
const number = (at, most) => ({ number: at, read: (reader) => reader.number(most), write: (writer, value) => writer.uint(value) });
/** @type {(number: number) => Field} */
const nonzero = (at) => ({ number: at, optional: true, read: readNonzero, write: (writer, value) => writer.uint(value) });
/** @type {(number: number) => Field} */
const text = (at) => ({ number: at, read: (reader) => reader.text(), write: (writer, value) => writer.text(value) });
/** @type {(number: number) => Field} */
const bytes = (at) => ({ number: at, read: (reader) => reader.bytes(), write: (writer, value) => writer.bytes(value) });

const ALPN_MAX = 8;
const PINS_MAX = 6;
const STEPS_MAX = 8;
const CNAME = 5;

/**
 * The kinds, their fields in the order of their numbers, and what is so unless they say otherwise.
 * @type {{ kind: string, number: bigint, defaults: () => object, fields: Record<string, Field> }[]}
 */
const SHAPES = [
  {
    kind: "address",
    number: 1n,
    defaults: () => ({ priority: 0, weight: 0, region: undefined }),
    fields: { ip: { ...bytes(1), read: readIp }, priority: nonzero(2), weight: nonzero(3), region: { ...text(4), optional: true } },
  },
  {
    kind: "service",
    number: 2n,
    defaults: () => ({ target: undefined, alpn: [], priority: 0, weight: 0, pins: [] }),
    fields: {
      label: text(1),
      transport: { number: 2, read: readTransport, write: (writer, value) => writer.uint(value === "tcp" ? 6 : 17) },
      port: number(3, 0xffff),
      target: { number: 4, optional: true, read: readName, write: (writer, name) => writer.bytes(name.bytes) },
      alpn: { number: 5, optional: true, read: listOf(ALPN_MAX, (reader) => reader.text()), write: writeTexts },
      priority: nonzero(6),
      weight: nonzero(7),
      pins: { number: 8, optional: true, read: listOf(PINS_MAX, (reader) => reader.bytes(32)), write: writeMany },
    },
  },
  {
    kind: "delegate",
    number: 3n,
    defaults: () => ({}),
    fields: { path: { number: 1, read: listOf(STEPS_MAX, (reader) => (reader.atText ? reader.text() : readName(reader))), write: writePath } },
  },
  {
    kind: "dns",
    number: 4n,
    defaults: () => ({}),
    fields: { owner: text(1), type: number(2, 0xffff), ttl: number(3, 0xffff_ffff), rdata: bytes(4) },
  },
  { kind: "opaque", number: 5n, defaults: () => ({}), fields: { mediaType: text(1), bytes: bytes(2) } },
];
