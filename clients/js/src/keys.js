/**
 * What a name commits to (PROTOCOL.md §3): its first key and, by a chain of commitments, every key that may follow.
 *
 * ```text
 * genesis    = {1: -19, 2: public key, ? 3: salt, ? 4: commitment}      name       = 01 ‖ SHA-256("dialtone/genesis/v1" ‖ genesis)
 * link       = {1: -19, 2: public key, ? 4: commitment}                 commitment = SHA-256("dialtone/link/v1" ‖ link)
 * ```
 */

import { equal, utf8 } from "./bytes.js";
import { Reader, Writer } from "./cbor.js";
import { EncodingError, RecordError } from "./errors.js";
import { Name } from "./name.js";
import { sha256 } from "./sha2.js";

/**
 * @typedef {object} Link a key that may follow
 * @property {Uint8Array} key public key, 32 bytes
 * @property {Uint8Array | undefined} next the commitment to the link after it, 32 bytes
 */
/** @typedef {Link & { salt: Uint8Array | undefined }} Genesis what a name is the hash of; a salt gives one key many names */

/** Links that a record may reveal. */
export const CHAIN_LINKS_MAX = 32;
/** Bytes of a salt. */
export const SALT_BYTES_MAX = 32;

/** @param {Genesis} genesis @returns {Name} */
export function nameOf(genesis) {
  return Name.keySet(sha256(GENESIS_DOMAIN, encodeGenesis(genesis)));
}

/** @param {Link} link @returns {Uint8Array<ArrayBuffer>} 32 bytes */
export function commitmentTo(link) {
  const writer = new Writer();
  writeLink(writer, link);
  return sha256(LINK_DOMAIN, writer.take());
}

/**
 * The key in force after `chain`, each of whose links must be the one committed to.
 * @param {Genesis} genesis
 * @param {readonly Link[]} chain
 * @returns {Uint8Array} 32 bytes; whether they are a key is another question
 * @throws {RecordError} `chain`
 */
export function currentKey(genesis, chain) {
  if (chain.length > CHAIN_LINKS_MAX) throw new RecordError("chain", `a key chain has at most ${CHAIN_LINKS_MAX} links`);
  /** @type {Link} */
  let last = genesis;
  for (const [index, link] of chain.entries()) {
    if (!last.next || !equal(last.next, commitmentTo(link))) {
      throw new RecordError("chain", `link ${index + 1} of the key chain is not the one that was committed to`);
    }
    last = link;
  }
  return last.key;
}

/** @param {Genesis} genesis @returns {Uint8Array<ArrayBuffer>} */
export function encodeGenesis(genesis) {
  const writer = new Writer();
  writeGenesis(writer, genesis);
  return writer.take();
}

/** @param {Uint8Array} bytes @returns {Genesis} @throws {EncodingError} */
export function decodeGenesis(bytes) {
  const reader = new Reader(bytes);
  const genesis = readGenesis(reader);
  reader.finish();
  return genesis;
}

/** @param {Writer} writer @param {Genesis} genesis */
export function writeGenesis(writer, { key, salt, next }) {
  writer.map(2 + Number(salt !== undefined) + Number(next !== undefined)).uint(1).int(ALGORITHM).uint(2).bytes(key);
  if (salt) writer.uint(3).bytes(salt);
  if (next) writer.uint(4).bytes(next);
}

/** @param {Writer} writer @param {Link} link */
export function writeLink(writer, { key, next }) {
  writeGenesis(writer, { key, salt: undefined, next });
}

/** @param {Reader} reader @returns {Genesis} */
export function readGenesis(reader) {
  return readParts(reader, true);
}

/** Links 1 to i, at least one. @param {Reader} reader @returns {Link[]} */
export function readChain(reader) {
  const count = reader.array();
  if (count > BigInt(CHAIN_LINKS_MAX)) throw new RecordError("chain", `a key chain has at most ${CHAIN_LINKS_MAX} links`);
  if (count === 0n) throw new RecordError("empty-list", "an empty `chain` is left out, not written");
  return Array.from({ length: Number(count) }, () => {
    const { key, next } = readParts(reader, false);
    return Object.freeze({ key, next });
  });
}

/** It has no fields but these, uncritical ones neither: it would be another name. @param {Reader} reader @param {boolean} withSalt @returns {Genesis} */
function readParts(reader, withSalt) {
  const start = reader.position;
  /** @type {{ algorithm?: bigint, key?: Uint8Array, salt?: Uint8Array, next?: Uint8Array }} */
  const found = {};
  for (const field of reader.fields()) {
    const at = reader.position;
    if (field === 1n) found.algorithm = reader.int();
    else if (field === 2n) found.key = reader.bytes(32);
    else if (field === 3n && withSalt) {
      found.salt = reader.bytes();
      if (found.salt.length === 0 || found.salt.length > SALT_BYTES_MAX) throw new EncodingError(`a salt of another length than 1 to ${SALT_BYTES_MAX}`, at);
    } else if (field === 4n) found.next = reader.bytes(32);
    else throw new EncodingError("a field that no genesis or link has", at);
  }
  const { algorithm, key, salt, next } = found;
  if (algorithm !== ALGORITHM || !key) throw new EncodingError("not a genesis or link of an Ed25519 key", start);
  return Object.freeze({ key, salt, next });
}

const ALGORITHM = -19n;
const GENESIS_DOMAIN = utf8("dialtone/genesis/v1");
const LINK_DOMAIN = utf8("dialtone/link/v1");
