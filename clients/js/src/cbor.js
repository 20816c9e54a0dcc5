/**
 * Deterministic CBOR (RFC 8949 §4.2.1) as PROTOCOL.md §1 narrows it: the only encoding that is read or written here. A {@link Reader}
 * refuses whatever has a second spelling, so what it accepts is, byte for byte, what a {@link Writer} would have written.
 */

import { compare, concat, utf8 } from "./bytes.js";
import { EncodingError } from "./errors.js";

/** Nesting of a value that is passed over, counting the value itself. */
export const DEPTH_MAX = 8;
/** First uncritical field or kind: a reader that does not know one passes over it (PROTOCOL.md §13). */
export const UNCRITICAL_FROM = 64n;

/** Reads items one after another, refusing every spelling but the shortest. */
export class Reader {
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** Where the next item begins. */
  get position() {
    return this.#at;
  }

  /** Ends the reading: nothing may be left. */
  finish() {
    if (this.#at !== this.#bytes.length) throw new EncodingError("trailing bytes", this.#at);
  }

  /** An unsigned integer. @returns {bigint} */
  uint() {
    return this.#expect(UINT);
  }

  /** An unsigned integer of at most `max`; one that is larger is of the wrong type. @param {number} max @returns {number} */
  number(max) {
    const at = this.#at;
    const value = this.uint();
    if (value > BigInt(max)) throw new EncodingError("a number out of range", at);
    return Number(value);
  }

  /** A signed integer. @returns {bigint} */
  int() {
    const at = this.#at;
    const [major, value] = this.#head();
    if (major === UINT) return value;
    if (major === NINT) return -1n - value;
    throw new EncodingError("another type than expected", at);
  }

  /** A byte string. @param {number} [length] exactly so many @returns {Uint8Array<ArrayBuffer>} a copy */
  bytes(length) {
    const at = this.#at;
    const taken = this.#take(this.#expect(BYTES));
    if (length !== undefined && taken.length !== length) throw new EncodingError(`a byte string of another length than ${length}`, at);
    return new Uint8Array(taken);
  }

  /** A text string. @returns {string} */
  text() {
    const at = this.#at;
    const taken = this.#take(this.#expect(TEXT));
    try {
      return UTF8.decode(taken);
    } catch {
      throw new EncodingError("text that is not UTF-8", at);
    }
  }

  /** The head of an array: how many items follow. @param {number} [items] exactly so many @returns {bigint} */
  array(items) {
    const at = this.#at;
    const found = this.#expect(ARRAY);
    if (items !== undefined && found !== BigInt(items)) throw new EncodingError(`an array of another length than ${items}`, at);
    return found;
  }

  /**
   * A map with unsigned keys: yields each key; the value must then be read or skipped.
   * @returns {Generator<bigint, void, void>}
   */
  *fields() {
    const pairs = this.#expect(MAP);
    let last = -1n;
    for (let done = 0n; done < pairs; done++) {
      const at = this.#at;
      const key = this.uint();
      if (key <= last) throw new EncodingError("a map key out of order or given twice", at);
      last = key;
      yield key;
    }
  }

  /** `true` or `false`. @returns {boolean} */
  bool() {
    const at = this.#at;
    const byte = this.#take(1n)[0];
    if (byte !== TRUE && byte !== FALSE) throw new EncodingError("another type than expected", at);
    return byte === TRUE;
  }

  /** Whether `null` comes next; it is consumed if so. */
  null() {
    const is = this.#bytes[this.#at] === NULL;
    if (is) this.#at++;
    return is;
  }

  /** Whether text comes next. */
  get atText() {
    return this.#at < this.#bytes.length && this.#bytes[this.#at] >> 5 === TEXT;
  }

  /** Whether an array comes next. */
  get atArray() {
    return this.#at < this.#bytes.length && this.#bytes[this.#at] >> 5 === ARRAY;
  }

  /** Steps over one item of any shape, still checking every rule. @param {number} [depth] */
  skip(depth = DEPTH_MAX) {
    const at = this.#at;
    if (depth === 0) throw new EncodingError("nested too deeply", at);
    if (at >= this.#bytes.length) throw new EncodingError("the bytes end inside an item", at);
    switch (this.#bytes[at] >> 5) {
      case UINT:
      case NINT:
        this.#head();
        return;
      case BYTES:
        this.bytes();
        return;
      case TEXT:
        this.text();
        return;
      case ARRAY:
        for (let left = this.array(); left > 0n; left--) this.skip(depth - 1);
        return;
      case MAP: {
        let last = new Uint8Array();
        for (let left = this.#expect(MAP); left > 0n; left--) {
          const start = this.#at;
          this.skip(depth - 1);
          const key = this.#bytes.slice(start, this.#at);
          if (compare(key, last) <= 0) throw new EncodingError("a map key out of order or given twice", start);
          last = key;
          this.skip(depth - 1);
        }
        return;
      }
      default:
        if (![FALSE, TRUE, NULL].includes(this.#take(1n)[0])) throw new EncodingError("a float, tag or simple value outside the profile", at);
    }
  }

  /** @param {number} major @returns {bigint} */
  #expect(major) {
    const at = this.#at;
    const [found, value] = this.#head();
    if (found !== major) throw new EncodingError("another type than expected", at);
    return value;
  }

  /** One head, in its shortest spelling. @returns {[number, bigint]} major type and argument */
  #head() {
    const at = this.#at;
    const first = this.#take(1n)[0];
    const major = first >> 5;
    const low = first & 31;
    if (major > MAP) throw new EncodingError("a float, tag or simple value outside the profile", at);
    if (low < 24) return [major, BigInt(low)];
    if (low === 31) throw new EncodingError("an indefinite length", at);
    if (low > 27) throw new EncodingError("a reserved length", at);
    const width = 1 << (low - 24);
    const value = this.#take(BigInt(width)).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const smallest = width === 1 ? 24n : 1n << BigInt(4 * width);
    if (value < smallest) throw new EncodingError("a number that has a shorter spelling", at);
    return [major, value];
  }

  /** @param {bigint} count */
  #take(count) {
    if (count > BigInt(this.#bytes.length - this.#at)) throw new EncodingError("the bytes end inside an item", this.#bytes.length);
    const start = this.#at;
    this.#at += Number(count);
    return this.#bytes.subarray(start, this.#at);
  }
}

/** Writes items one after another, each in its shortest spelling. Map keys must be given in ascending order. */
export class Writer {
  /** @type {Uint8Array[]} */
  #parts = [];

  /** What was written. @returns {Uint8Array<ArrayBuffer>} */
  take() {
    return concat(...this.#parts);
  }

  /** @param {number | bigint} value */
  uint(value) {
    return this.#head(UINT, BigInt(value));
  }

  /** @param {number | bigint} value */
  int(value) {
    const given = BigInt(value);
    return given < 0n ? this.#head(NINT, -1n - given) : this.uint(given);
  }

  /** @param {Uint8Array} bytes */
  bytes(bytes) {
    return this.#head(BYTES, BigInt(bytes.length)).raw(bytes);
  }

  /** @param {string} text */
  text(text) {
    const bytes = utf8(text);
    return this.#head(TEXT, BigInt(bytes.length)).raw(bytes);
  }

  /** The head of an array. @param {number} items */
  array(items) {
    return this.#head(ARRAY, BigInt(items));
  }

  /** The head of a map. @param {number} pairs */
  map(pairs) {
    return this.#head(MAP, BigInt(pairs));
  }

  /** @param {boolean} value */
  bool(value) {
    return this.raw(Uint8Array.of(value ? TRUE : FALSE));
  }

  /** Bytes that are already deterministic CBOR. @param {Uint8Array} encoded */
  raw(encoded) {
    this.#parts.push(encoded);
    return this;
  }

  /** @param {number} major @param {bigint} value */
  #head(major, value) {
    if (value < 0n || value >= 1n << 64n) throw new RangeError(`${value} is no number of at most 64 bits`);
    const top = major << 5;
    if (value < 24n) return this.raw(Uint8Array.of(top | Number(value)));
    const step = value < 1n << 8n ? 0 : value < 1n << 16n ? 1 : value < 1n << 32n ? 2 : 3;
    const width = 1 << step;
    const head = new Uint8Array(1 + width);
    head[0] = top | (24 + step);
    for (let at = width; at > 0; at--) {
      head[at] = Number(value & 0xffn);
      value >>= 8n;
    }
    return this.raw(head);
  }
}

const [UINT, NINT, BYTES, TEXT, ARRAY, MAP] = [0, 1, 2, 3, 4, 5];
const [FALSE, TRUE, NULL] = [0xf4, 0xf5, 0xf6];
// A byte order mark is a character like others here: without `ignoreBOM` it would be swallowed.
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
