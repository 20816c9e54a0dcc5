/**
 * Host Identity Tags (PROTOCOL.md §19): what the Host Identity Protocol calls a key by, in the shape of an IPv6 address.
 *
 * ```text
 * tag   2001:0025 ‖ cSHAKE128(00 01 00 00 ‖ public key, 96 bits, N = "", S = the context of HIP)
 * ```
 *
 * An index and not a name: whoever is answered makes the tag anew from the key of the record.
 */

import { ipText, parseIp } from "./addresses.js";
import { concat, copyOf, equal, fromHex } from "./bytes.js";
import { NameError } from "./errors.js";
import { cshake128 } from "./keccak.js";

/** A Host Identity Tag of an Ed25519 key. Cannot be changed. */
export class Hit {
  #bytes;

  /** @param {Uint8Array | ArrayBuffer} bytes the 16 of the address @throws {NameError} `tag`: none of an Ed25519 key */
  constructor(bytes) {
    this.#bytes = copyOf(bytes);
    if (this.#bytes.length !== 16 || !equal(this.#bytes.slice(0, 4), PREFIX)) throw new NameError("tag", "a Host Identity Tag of an Ed25519 key begins with 2001:25:");
  }

  /** The tag of a key. @param {Uint8Array} key the 32 bytes of an Ed25519 public key @returns {Hit} */
  static of(key) {
    return new Hit(concat(PREFIX, cshake128(concat(CURVE, key), 12, CONTEXT)));
  }

  /** Reads a tag as it is written, an IPv6 address. @param {string | Hit} given @returns {Hit} @throws {NameError} `tag` */
  static parse(given) {
    if (given instanceof Hit) return given;
    return new Hit(parseIp(String(given).trim()) ?? new Uint8Array());
  }

  /** Whether a text is meant as a tag, rightly or wrongly: names are never addresses. @param {string} text */
  static isMeant(text) {
    return parseIp(text.trim())?.length === 16;
  }

  /** The 16 bytes of the address. */
  get bytes() {
    return copyOf(this.#bytes);
  }

  /** As an address. */
  toString() {
    return ipText(this.#bytes);
  }

  /** As JSON: the text. */
  toJSON() {
    return this.toString();
  }

  /** @param {unknown} other */
  equals(other) {
    return other instanceof Hit && equal(other.#bytes, this.#bytes);
  }
}

/** 2001:20::/28 and the suite EdDSA/cSHAKE128. */
const PREFIX = fromHex("20010025");
/** EdDSA25519, and two bytes that are 0. */
const CURVE = fromHex("00010000");
/** The Context ID of HIP (RFC 7401 §3.2). */
const CONTEXT = fromHex("f0eff02fbff43d0fe7930c3c6e6174ea");
