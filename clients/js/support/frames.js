/**
 * Frames between providers (PROTOCOL.md §12), read from its CDDL: as much as the vectors need. A client has no use for them, so they are
 * not part of what is shipped.
 */

import { Reader, UNCRITICAL_FROM } from "../src/cbor.js";
import { Hit } from "../src/hip.js";
import { Name } from "../src/name.js";
import { Rank } from "../src/rank.js";
import { SignedRecord } from "../src/signed.js";

const FRAME_BYTES_MAX = 1 << 20;

/**
 * @param {Uint8Array} frame
 * @returns {Promise<{ kind: string, fields: Map<number, any> }>}
 */
export async function readFrame(frame) {
  const length = new DataView(frame.buffer, frame.byteOffset).getUint32(0);
  if (length !== frame.length - 4 || length > FRAME_BYTES_MAX) throw new Error("a frame of another length than it says");
  const reader = new Reader(frame.subarray(4));
  const iterator = reader.fields();
  if (iterator.next().value !== 0n) throw new Error("a message without a kind");
  const number = reader.number(255);
  const found = KINDS.get(number);
  if (!found) throw new Error(`message kind ${number} is not known`);
  const [kind, shape, optional = []] = found;
  const fields = new Map();
  for (const key of iterator) {
    const read = shape[Number(key)];
    if (read) fields.set(Number(key), await read(reader));
    else if (key >= UNCRITICAL_FROM) reader.skip();
    else throw new Error(`field ${key} of ${kind} is not known`);
  }
  reader.finish();
  const missing = Object.keys(shape).filter((key) => !fields.has(Number(key)) && !optional.includes(Number(key)));
  if (kind === "batch") checkTags(fields);
  if (kind === "answer") checkAnswer(fields);
  else if (missing.length > 0) throw new Error(`fields ${missing} of ${kind} are missing`);
  return { kind, fields };
}

/** 2 with a record alone; 3 with a record or "not newer" alone. @param {Map<number, any>} fields */
function checkAnswer(fields) {
  const outcome = fields.get(1);
  const right = outcome >= 1 && outcome <= 4 && fields.has(2) === (outcome === 1) && fields.has(3) === outcome <= 2;
  if (!right) throw new Error("an answer whose fields contradict each other");
}

/** 12 bytes for each pointer, 8 for each mention. @param {Map<number, any>} fields */
function checkTags(fields) {
  const wanted = fields.get(4)?.reduce((/** @type {number} */ sum, /** @type {any} */ entry) => sum + (entry.name ? 12 : entry.record ? 0 : 8), 0);
  if (fields.has(64) && fields.get(64).length !== wanted) throw new Error("tags of another length than their entries");
}

/** @typedef {(reader: Reader) => any} Read */
/** @type {(least: number, most: number) => Read} */
const between = (least, most) => (reader) => {
  const value = reader.number(most);
  if (value < least) throw new Error(`${value} is below ${least}`);
  return value;
};
/** @type {(least: number, most: number, item: Read) => Read} */
const list = (least, most, item) => async (reader) => {
  const count = Number(reader.array());
  if (count < least || count > most) throw new Error(`${count} items are out of bounds`);
  const items = [];
  for (let at = 0; at < count; at++) items.push(await item(reader));
  return items;
};
/** @type {Read} */
const uint = (reader) => reader.uint();
/** @type {Read} */
const bool = (reader) => reader.bool();
/** @type {Read} */
const name = (reader) => new Name(reader.bytes());
/** What is asked for. @type {Read} */
const nameOrTag = (reader) => {
  const bytes = reader.bytes();
  return bytes.length === 16 ? new Hit(bytes) : new Name(bytes);
};
/** @type {Read} */
const record = (reader) => new SignedRecord(reader.bytes()).verify();
/** @type {(length?: number) => Read} */
const bytes = (length) => (reader) => reader.bytes(length);

/** By whom a record came: how many, and the marks of those that are listed. @type {Read} */
const path = (reader) => {
  const bytes = reader.bytes();
  const [providers] = bytes;
  const marks = (bytes.length - 1) / 8;
  if (providers === 0 || marks !== Math.min(providers, 6)) throw new Error("a path of another length than it says");
  return { providers, marks };
};
/** @type {Read} */
const entry = async (reader) => {
  if (!reader.atArray) return { mention: reader.uint() };
  const items = Number(reader.array());
  const value = { class: between(1, 3)(reader), keepUntil: reader.uint() };
  if (items === 3) return { ...value, record: await record(reader) };
  if (items === 4) return { ...value, record: await record(reader), path: path(reader) };
  if (items !== 7 && items !== 8) throw new Error(`an entry of ${items} items`);
  const pointer = { ...value, name: name(reader), epoch: reader.number(0xffff_ffff), sequence: reader.uint(), digest: reader.bytes(16), expiry: reader.uint() };
  return items === 8 ? { ...pointer, keeper: name(reader) } : pointer;
};
/** @type {Read} */
const value = async (reader) => {
  const found = await entry(reader);
  if (!found.record || found.path) throw new Error("an answer without a record alone");
  return found;
};

/** @type {Record<number, Read>} */
const TERMS = { 7: between(1, 5), 8: between(0, 3), 9: between(0, 3), 10: bool, 11: bool, 12: list(0, 256, uint), 13: between(0, 16), 14: between(0, 16), 15: uint };
/** @type {Map<number, [string, Record<number, Read>, number[]?]>} */
const KINDS = new Map([
  [1, ["hello", { 1: list(1, 16, uint), 2: record, 3: bytes(16), 4: bytes(16), 5: list(3, 3, uint), ...TERMS }]],
  [2, ["batch", { 1: between(0, 2), 2: uint, 3: uint, 4: list(0, 256, entry), 5: uint, 64: bytes() }, [5, 64]]],
  [3, ["ack", { 1: between(0, 2), 2: uint, 3: list(6, 6, uint), 4: list(1, 2048, name) }, [4]]],
  [4, ["terms", TERMS]],
  [5, ["digest", { 1: uint, 2: uint, 3: between(1, 16), 4: uint, 5: uint, 6: bytes(), 64: bool }, [64]]],
  [6, ["branch", { 1: uint, 2: between(0, 32), 3: bool }]],
  [16, ["query", { 1: nameOrTag, 2: between(0, 255), 3: list(0, 512, uint), 4: between(0, 255), 5: bool, 6: (reader) => Rank.read(reader) }, [6]]],
  [17, ["reconcile", { 1: bytes() }]],
  [18, ["statement request", { 1: uint, 2: uint }]],
  [19, ["proofs", { 1: list(0, 16, bytes()) }]],
  [32, ["answer", { 1: between(1, 4), 2: value, 3: uint }]],
  [33, ["reconcile", { 1: bytes() }]],
  [34, ["statement", { 1: bytes() }]],
  [35, ["noted", {}]],
  [48, ["refused", { 1: between(1, 4) }]],
]);
