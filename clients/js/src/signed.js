/** A record in its envelope, and the one door from {@link SignedRecord} to {@link VerifiedRecord} (PROTOCOL.md §8). */

import { compare, copyOf } from "./bytes.js";
import { refuseKey, verify } from "./ed25519.js";
import { Domain, open, seal, toBeSigned } from "./envelope.js";
import { RecordError, VerifyError } from "./errors.js";
import { currentKey, nameOf } from "./keys.js";
import { Rank } from "./rank.js";
import { RECORD_BYTES_MAX, RECORD_BYTES_MIN, decodePayload, encodePayload } from "./record.js";
import { sha256 } from "./sha2.js";

/** A record whose signature nobody has checked yet. */
export class SignedRecord {
  #bytes;
  #payload;
  #signature;

  /**
   * Reads an envelope: steps 1 to 3 of §8.
   * @param {Uint8Array | ArrayBuffer} given
   * @throws {RecordError}
   */
  constructor(given) {
    const bytes = copyOf(given);
    if (bytes.length > RECORD_BYTES_MAX) throw new RecordError("too-large", `${bytes.length} bytes is larger than a record may be (${RECORD_BYTES_MAX})`);
    if (bytes.length < RECORD_BYTES_MIN) throw new RecordError("too-short", `${bytes.length} bytes is too short for a record (at least ${RECORD_BYTES_MIN})`);
    const opened = open(bytes);
    if (!opened) throw new RecordError("envelope", "not the one envelope that is accepted (COSE_Sign1, tag 18, protected {1: -19}, nothing unprotected)");
    this.#bytes = bytes;
    this.#payload = opened.payload;
    this.#signature = opened.signature;
    /** What it says. */
    this.says = decodePayload(opened.payload);
    /** Whose it is: the hash of its genesis. */
    this.name = nameOf(this.says.genesis);
    /** Its place in the order. */
    this.rank = new Rank(this.says.chain.length, this.says.revoked, this.says.sequence, sha256(bytes));
  }

  /** The envelope, as it arrived. */
  get bytes() {
    return copyOf(this.#bytes);
  }

  /** What is signed over. */
  get payload() {
    return copyOf(this.#payload);
  }

  /** 64 bytes. */
  get signature() {
    return copyOf(this.#signature);
  }

  /** The key in force, which must have signed: 32 bytes. */
  get key() {
    return copyOf(currentKey(this.says.genesis, this.says.chain));
  }

  /**
   * Steps 4 and 6 of §8: that it is of the name asked for, and that the signature is that of the key in force.
   * @param {import("./name.js").Name} [name] the one asked for
   * @returns {Promise<VerifiedRecord>}
   * @throws {VerifyError} `other-name`, `key` or `signature`
   */
  async verify(name) {
    if (name && !name.equals(this.name)) throw new VerifyError("other-name", `this is a record of ${this.name}`, "provider");
    await checkSignature(this.key, Domain.Record, this.#payload, this.#signature);
    return new VerifiedRecord(DOOR, this.#bytes);
  }

  /** Negative if this is outranked by `other`, positive if it outranks it, 0 if they are the same. @param {SignedRecord} other */
  compareRank(other) {
    return this.rank.compareOrder(other.rank) || compare(this.#bytes, other.#bytes);
  }
}

/** A record that is its publisher's word. Comes into being in {@link SignedRecord.verify} alone. Whether it is current is another question. */
export class VerifiedRecord extends SignedRecord {
  /** @param {symbol} door @param {Uint8Array} bytes */
  constructor(door, bytes) {
    if (door !== DOOR) throw new TypeError("a record is verified by SignedRecord.verify");
    super(bytes);
    Object.freeze(this);
  }
}

/**
 * Signs a record. The key must be the one in force; that is checked by verifying what was signed.
 * @param {import("./record.js").Record} record
 * @param {CryptoKey} key a private Ed25519 key of WebCrypto
 * @returns {Promise<VerifiedRecord>}
 * @throws {RecordError | VerifyError}
 */
export async function signRecord(record, key) {
  const payload = encodePayload(record);
  const signature = await globalThis.crypto.subtle.sign({ name: "Ed25519" }, key, toBeSigned(Domain.Record, payload));
  return new SignedRecord(seal(payload, new Uint8Array(signature))).verify();
}

/**
 * That `key` is one and signed `payload`.
 * @param {Uint8Array} key
 * @param {string} domain
 * @param {Uint8Array} payload
 * @param {Uint8Array} signature
 * @throws {VerifyError} `key` or `signature`
 */
export async function checkSignature(key, domain, payload, signature) {
  const refused = refuseKey(key);
  if (refused) throw new VerifyError("key", refused === "small-order" ? "the signing key is of small order: it proves nothing" : "the signing key is no Ed25519 public key");
  if (!(await verify(key, toBeSigned(domain, payload), signature))) {
    throw new VerifyError("signature", "the signature is not by the key that the name commits to, or what was signed was changed");
  }
}

const DOOR = Symbol("verified");
