/** Which of two records of a name wins (PROTOCOL.md §6): later key epoch, then revoked, then sequence, then larger bytes. */

import { equal, fromHex, toHex } from "./bytes.js";
import { Reader, Writer } from "./cbor.js";

/** What travels of a record's place in the order; the digest stands for the bytes. */
export class Rank {
  /**
   * @param {number} epoch how many rotations the record reveals
   * @param {boolean} revoked
   * @param {bigint} sequence microseconds since 1970
   * @param {Uint8Array} digest SHA-256 of the envelope
   */
  constructor(epoch, revoked, sequence, digest) {
    this.epoch = epoch;
    this.revoked = revoked;
    this.sequence = sequence;
    this.digest = digest;
    Object.freeze(this);
  }

  /**
   * Reads `<epoch>.<0 or 1>.<sequence>.<64 lower-case hexadecimal digits>`, as an ETag has it.
   * @param {string} text
   * @returns {Rank | undefined} `undefined`: it is no rank, or spelt otherwise
   */
  static parse(text) {
    const found = /^(0|[1-9]\d{0,9})\.([01])\.(0|[1-9]\d{0,19})\.([0-9a-f]{64})$/.exec(text);
    if (!found || Number(found[1]) > EPOCH_MAX || BigInt(found[3]) >= 1n << 64n) return undefined;
    return new Rank(Number(found[1]), found[2] === "1", BigInt(found[3]), fromHex(found[4]));
  }

  /** @param {Reader} reader @returns {Rank} */
  static read(reader) {
    reader.array(4);
    return new Rank(reader.number(EPOCH_MAX), reader.bool(), reader.uint(), reader.bytes(32));
  }

  /** @param {Writer} writer */
  write(writer) {
    writer.array(4).uint(this.epoch).bool(this.revoked).uint(this.sequence).bytes(this.digest);
  }

  /**
   * Negative if this is below `other`, positive if above, 0 if they are equal in all that can be told without the bytes.
   * @param {Rank} other
   */
  compareOrder(other) {
    if (this.epoch !== other.epoch) return this.epoch - other.epoch;
    if (this.revoked !== other.revoked) return this.revoked ? 1 : -1;
    return this.sequence < other.sequence ? -1 : this.sequence > other.sequence ? 1 : 0;
  }

  /** @param {Rank} other */
  equals(other) {
    return this.compareOrder(other) === 0 && equal(this.digest, other.digest);
  }

  /** As an ETag has it, without the quotes. */
  toString() {
    return `${this.epoch}.${this.revoked ? 1 : 0}.${this.sequence}.${toHex(this.digest)}`;
  }

  /** As JSON: the text. */
  toJSON() {
    return this.toString();
  }
}

const EPOCH_MAX = 0xffff_ffff;
