/**
 * Flat, self-certifying names (PROTOCOL.md §2): 32 bytes and a scheme that says how they certify themselves.
 *
 * ```text
 * on the wire   [scheme u8][32 bytes]                               33 bytes
 * as text       z-base-32 of [scheme u8][32 bytes][checksum u16]    56 characters
 *               z-base-32 of the 32 bytes, if the scheme is pkarr    52 characters
 * as URI        dialtone:<text>
 * as DNS        <text>.<origin>
 * ```
 */

import { compare, concat, copyOf, equal, utf8 } from "./bytes.js";
import { NameError } from "./errors.js";
import { sha256 } from "./sha2.js";
import * as z32 from "./z32.js";

/** How the 32 bytes of a name certify themselves. */
export const Scheme = Object.freeze({
  /** SHA-256 of a genesis: the name of a key and of all that follow it. */
  KeySet: 1,
  /** SHA-256 of the bytes themselves. */
  Content: 2,
  /** An Ed25519 public key, as it is: the name of a pkarr packet and of an iroh endpoint. */
  Pkarr: 3,
});

/** What names stand under in DNS, unless a provider sets another origin. */
export const ORIGIN = "dialtone.alt";

/** A flat name. Cannot be changed. */
export class Name {
  #bytes;
  #text;

  /** @param {Uint8Array | ArrayBuffer} wire the 33 bytes on the wire @throws {NameError} `length` or `scheme` */
  constructor(wire) {
    const bytes = copyOf(wire);
    if (bytes.length !== Name.BYTES) throw new NameError("length", `a name on the wire has ${Name.BYTES} bytes, this has ${bytes.length}`);
    if (!Object.values(Scheme).includes(bytes[0])) {
      throw new NameError("scheme", `naming scheme ${bytes[0]} is not known to this version`);
    }
    this.#bytes = bytes;
    this.#text = z32.encode(bytes[0] === Scheme.Pkarr ? bytes.slice(1) : concat(bytes, checksum(bytes)));
  }

  /** Bytes on the wire: the scheme and 32. */
  static BYTES = 33;
  /** Characters of the text form, but for pkarr's. */
  static CHARS = 56;

  /**
   * Reads a name in any of its forms: text, `dialtone:` URI, or DNS under `origin`, with or without a final dot; upper and lower case alike.
   * @param {string | Name} given
   * @param {string} [origin]
   * @returns {Name}
   * @throws {NameError}
   */
  static parse(given, origin = ORIGIN) {
    if (given instanceof Name) return given;
    const text = String(given);
    if (text.slice(0, URI.length).toLowerCase() === URI) return Name.fromLabel(text.slice(URI.length));
    return text.includes(".") ? Name.fromDns(text, origin) : Name.fromLabel(text);
  }

  /** The name in one DNS label, which is its text in any case. @param {string} label @returns {Name} @throws {NameError} */
  static fromLabel(label) {
    const chars = [...label].length;
    if (chars === PKARR_CHARS) {
      return new Name(concat(Uint8Array.of(Scheme.Pkarr), z32.decode(label)));
    }
    if (chars !== Name.CHARS) throw new NameError("length", `a name has ${Name.CHARS} characters, or ${PKARR_CHARS} if it is a pkarr key; this has ${chars}`);
    const bytes = z32.decode(label);
    const wire = bytes.slice(0, Name.BYTES);
    if (!equal(checksum(wire), bytes.slice(Name.BYTES))) {
      throw new NameError("checksum", "the checksum does not match: a character is mistyped");
    }
    if (wire[0] === Scheme.Pkarr) throw new NameError("scheme", `a pkarr key is written with ${PKARR_CHARS} characters`);
    return new Name(wire);
  }

  /** The name in `<text>.<origin>`. @param {string} dns @param {string} [origin] @returns {Name} @throws {NameError} */
  static fromDns(dns, origin = ORIGIN) {
    const under = lower(`.${origin.replace(/^\.+|\.+$/g, "")}`);
    const whole = dns.endsWith(".") ? dns.slice(0, -1) : dns;
    const label = whole.slice(0, -under.length);
    if (!lower(whole).endsWith(under) || label.includes(".")) throw new NameError("origin", `not a name directly under ${under.slice(1)}`);
    return Name.fromLabel(label);
  }

  /** A name of the `key-set` scheme. @param {Uint8Array} digest of its genesis @returns {Name} */
  static keySet(digest) {
    return new Name(concat(Uint8Array.of(Scheme.KeySet), digest));
  }

  /** The name of these very bytes, in the `content` scheme. @param {Uint8Array} bytes @returns {Name} */
  static ofContent(bytes) {
    return new Name(concat(Uint8Array.of(Scheme.Content), sha256(bytes)));
  }

  /** The 33 bytes on the wire. */
  get bytes() {
    return copyOf(this.#bytes);
  }

  /** The 32 bytes without the scheme. */
  get digest() {
    return this.#bytes.slice(1);
  }

  /** One of {@link Scheme}. */
  get scheme() {
    return this.#bytes[0];
  }

  /** The text form. */
  toString() {
    return this.#text;
  }

  /** As JSON: the text. */
  toJSON() {
    return this.#text;
  }

  /** `dialtone:<text>`. */
  toUri() {
    return URI + this.#text;
  }

  /** `<text>.<origin>`, without a final dot. @param {string} [origin] */
  toDns(origin = ORIGIN) {
    return `${this.#text}.${origin.replace(/^\.+|\.+$/g, "")}`;
  }

  /** @param {unknown} other */
  equals(other) {
    return other instanceof Name && other.#text === this.#text;
  }

  /** By bytes, as a scope is ordered. @param {Name} other */
  compare(other) {
    return compare(this.#bytes, other.#bytes);
  }
}

/** @param {Uint8Array} wire */
function checksum(wire) {
  return sha256(DOMAIN, wire).slice(0, 2);
}

/** ASCII's lower case, and nothing else's. @param {string} text */
function lower(text) {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

const DOMAIN = utf8("dialtone/name/v1");
const URI = "dialtone:";
const PKARR_CHARS = 52;
