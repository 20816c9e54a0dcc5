/** RDATA of the types that a `dns` binding may hold (PROTOCOL.md §5): wire form, names uncompressed, checked type by type. */

/**
 * Why RDATA is refused; `undefined` if it is right.
 * @param {number} type
 * @param {Uint8Array} rdata
 * @returns {string | undefined}
 */
export function refuseRdata(type, rdata) {
  if (isForbidden(type)) return `type ${type} cannot be published: it is a meta, delegation, DNSSEC or Dialtone type`;
  const layout = LAYOUTS.get(type);
  try {
    const cursor = new Cursor(rdata);
    layout?.split(" ").forEach((part) => cursor[/** @type {Part} */ (part)]());
    if (!layout || cursor.isAtEnd) return undefined;
  } catch (error) {
    if (error !== MISFIT) throw error;
  }
  return `not RDATA of type ${type}: names are uncompressed, lengths exact`;
}

/** Whether `type` may not be published at all. @param {number} type */
export function isForbidden(type) {
  return FORBIDDEN.has(type) || (type >= 128 && type <= 255) || type >= 65280;
}

/** @typedef {"one" | "two" | "three" | "four" | "six" | "sixteen" | "name" | "string" | "strings" | "some" | "loc" | "caa" | "svcb"} Part */

/** What is left to read; a step that does not fit throws {@link MISFIT}. */
class Cursor {
  /** @param {Uint8Array} rest */
  constructor(rest) {
    this.rest = rest;
  }

  get isAtEnd() {
    return this.rest.length === 0;
  }

  /** @param {number} count */
  take(count) {
    if (count > this.rest.length) throw MISFIT;
    const taken = this.rest.subarray(0, count);
    this.rest = this.rest.subarray(count);
    return taken;
  }

  one = () => this.take(1)[0];
  two = () => {
    const [high, low] = this.take(2);
    return (high << 8) | low;
  };
  three = () => this.take(3);
  four = () => this.take(4);
  six = () => this.take(6);
  sixteen = () => this.take(16);
  string = () => this.take(this.one());

  strings() {
    do this.string();
    while (!this.isAtEnd);
  }

  /** Whatever is left, which must be something. */
  some() {
    if (this.take(this.rest.length).length === 0) throw MISFIT;
  }

  /** A name without compression: labels of 1 to 63 bytes, 255 in all. */
  name() {
    let total = 0;
    for (;;) {
      const length = this.one();
      total += length + 1;
      if (length > 63 || total > 255) throw MISFIT;
      if (length === 0) return;
      this.take(length);
    }
  }

  /** RFC 1876, version 0. */
  loc() {
    if (this.one() !== 0) throw MISFIT;
    this.take(15);
  }

  /** RFC 8659: flags, a tag of letters and digits, a value. */
  caa() {
    this.one();
    const tag = this.string();
    if (!/^[0-9A-Za-z]+$/.test(String.fromCharCode(...tag))) throw MISFIT;
    this.take(this.rest.length);
  }

  /** SvcPriority, TargetName, then SvcParams in ascending order of their keys, each of its form and together without contradiction. */
  svcb() {
    this.two();
    this.name();
    /** @type {Map<number, Uint8Array>} */
    const params = new Map();
    let last = -1;
    while (!this.isAtEnd) {
      const key = this.two();
      const value = this.take(this.two());
      if (key <= last || !paramFits(key, value, params)) throw MISFIT;
      last = key;
      params.set(key, value);
    }
    const mandatory = pairs(params.get(SvcParam.mandatory) ?? new Uint8Array());
    if (mandatory.some((key) => key === SvcParam.mandatory || !params.has(key))) throw MISFIT;
  }
}

/** RFC 9460 §7 and §14.3.2. @param {number} key @param {Uint8Array} value @param {Map<number, Uint8Array>} before */
function paramFits(key, value, before) {
  switch (key) {
    case SvcParam.mandatory:
      return value.length > 0 && value.length % 2 === 0 && pairs(value).every((pair, at, all) => at === 0 || all[at - 1] < pair);
    case SvcParam.alpn:
      return value.length > 0 && alpnFits(value);
    case SvcParam.noDefaultAlpn:
      return before.has(SvcParam.alpn) && value.length === 0;
    case SvcParam.port:
      return value.length === 2;
    case SvcParam.ipv4hint:
      return value.length > 0 && value.length % 4 === 0;
    case SvcParam.ipv6hint:
      return value.length > 0 && value.length % 16 === 0;
    default:
      return key !== SvcParam.invalid;
  }
}

/** Ids of 1 to 255 bytes, each after its length. @param {Uint8Array} value */
function alpnFits(value) {
  let at = 0;
  while (at < value.length) {
    if (value[at] === 0) return false;
    at += value[at] + 1;
  }
  return at === value.length;
}

/** @param {Uint8Array} value of whole numbers of 16 bits */
function pairs(value) {
  return Array.from({ length: value.length / 2 }, (_, at) => (value[2 * at] << 8) | value[2 * at + 1]);
}

const MISFIT = new Error("does not fit");
const SvcParam = { mandatory: 0, alpn: 1, noDefaultAlpn: 2, port: 3, ipv4hint: 4, ipv6hint: 6, invalid: 65535 };

/** NS, MD, MF, SOA, SIG, KEY, NXT, DNAME, OPT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, CSYNC, ZONEMD, TA, DLV. */
const FORBIDDEN = new Set([0, 2, 3, 4, 6, 24, 25, 30, 39, 41, 43, 46, 47, 48, 50, 51, 59, 60, 62, 63, 32768, 32769]);

/**
 * What the RDATA of a type consists of. Every type whose names a receiver may decompress (RFC 3597 §4) is here; a type that is not
 * passes as opaque bytes.
 * @type {Map<number, string>}
 */
const LAYOUTS = new Map([
  [1, "four"], // A
  [28, "sixteen"], // AAAA
  ...[5, 7, 8, 9, 12].map((type) => /** @type {const} */ ([type, "name"])), // CNAME, MB, MG, MR, PTR
  ...[15, 18, 21, 36].map((type) => /** @type {const} */ ([type, "two name"])), // MX, AFSDB, RT, KX
  [26, "two name name"], // PX
  [33, "six name"], // SRV
  ...[16, 99].map((type) => /** @type {const} */ ([type, "strings"])), // TXT, SPF
  [13, "string string"], // HINFO
  ...[14, 17].map((type) => /** @type {const} */ ([type, "name name"])), // MINFO, RP
  [35, "four string string string name"], // NAPTR
  [29, "loc"], // LOC
  [44, "two some"], // SSHFP
  ...[52, 53].map((type) => /** @type {const} */ ([type, "three some"])), // TLSA, SMIMEA
  [256, "four some"], // URI
  [257, "caa"], // CAA
  ...[64, 65].map((type) => /** @type {const} */ ([type, "svcb"])), // SVCB, HTTPS
]);
