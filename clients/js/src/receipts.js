/**
 * What a provider says about what it holds (PROTOCOL.md §9): a receipt for a put, a signed status of a name, and proofs of a wrong. All are
 * checked offline, and none needs the provider.
 */

import { compare, copyOf, equal } from "./bytes.js";
import { Reader } from "./cbor.js";
import { Domain, open } from "./envelope.js";
import { DialtoneError, EncodingError, ReceiptError } from "./errors.js";
import { currentKey, nameOf, readChain, readGenesis } from "./keys.js";
import { Name } from "./name.js";
import { Rank } from "./rank.js";
import { sha256 } from "./sha2.js";
import { SignedRecord, checkSignature } from "./signed.js";

/**
 * @typedef {object} Promised what a receipt promises: to hold a record of that rank or a higher one
 * @property {Name} provider who promises
 * @property {Name} name of which name
 * @property {Rank} rank at least
 * @property {bigint} time microseconds since 1970: when
 * @property {bigint | undefined} keepUntil seconds since 1970; `undefined`: for ever
 */
/**
 * @typedef {object} Status what a provider says it holds
 * @property {Name} provider who says so
 * @property {Name} name of which name
 * @property {Rank | undefined} rank what it holds; `undefined`: nothing, which is a signed absence
 * @property {bigint} time microseconds since 1970: when
 */
/**
 * @typedef {{ what: "equivocation", of: Name, lesser: Rank, greater: Rank } | { what: "broken promise", of: Name, promise: Promised, status: Status }} Wrong
 * what a proof proves, and of whom
 */

/** Bytes of a proof. */
export const PROOF_BYTES_MAX = 12_288;

/**
 * Checks a receipt: body and root by one provider at one time, the body in the tree under the root, the root signed.
 * @param {Uint8Array | ArrayBuffer} given
 * @returns {Promise<Promised>}
 * @throws {ReceiptError}
 */
export function verifyReceipt(given) {
  return guarded(async () => {
    const reader = new Reader(copyOf(given));
    reader.array(4);
    const body = reader.bytes();
    const index = reader.uint();
    const at = reader.position;
    const nodes = reader.array();
    if (nodes > PATH_MAX) throw new EncodingError("a path that no tree has", at);
    const path = Array.from({ length: Number(nodes) }, () => reader.bytes(32));
    const root = reader.bytes();
    reader.finish();
    const promised = readPromised(body);
    const signed = await openSigned(Domain.Receipts, root, (reader, next) => {
      expect(next(), 5n, reader);
      const leaves = reader.uint();
      expect(next(), 6n, reader);
      return { leaves, top: reader.bytes(32) };
    });
    if (!signed.provider.equals(promised.provider)) throw new ReceiptError("other-provider", `the promise names ${promised.provider}, another signed it`);
    const top = fold(sha256(LEAF, body), index, signed.rest.leaves, path);
    if (!top || !equal(top, signed.rest.top) || signed.time !== promised.time) throw new ReceiptError("not-included", "the promise is not under the signed root");
    return promised;
  });
}

/**
 * Checks a signed status.
 * @param {Uint8Array | ArrayBuffer} given
 * @returns {Promise<Status>}
 * @throws {ReceiptError}
 */
export function verifyStatus(given) {
  return guarded(async () => {
    const { provider, time, rest } = await openSigned(Domain.Status, copyOf(given), (reader, next) => {
      expect(next(), 5n, reader);
      const name = new Name(reader.bytes());
      const key = next();
      if (key !== undefined) expect(key, 6n, reader);
      return { name, rank: key === undefined ? undefined : Rank.read(reader) };
    });
    return Object.freeze({ provider, time, ...rest });
  });
}

/**
 * Checks a proof of a wrong: two statements of one signer that cannot both be honest.
 * @param {Uint8Array | ArrayBuffer} given
 * @returns {Promise<Wrong>}
 * @throws {ReceiptError} it proves nothing
 */
export function verifyProof(given) {
  return guarded(async () => {
    const bytes = copyOf(given);
    if (bytes.length > PROOF_BYTES_MAX) throw new ReceiptError("too-large", `a proof of ${bytes.length} bytes is larger than any can be (${PROOF_BYTES_MAX})`);
    const reader = new Reader(bytes);
    const fields = reader.fields();
    const next = () => fields.next().value ?? undefined;
    expect(next(), 0n, reader);
    const kind = reader.uint();
    expect(next(), 1n, reader);
    const first = reader.bytes();
    expect(next(), 2n, reader);
    const second = reader.bytes();
    expect(next(), undefined, reader);
    reader.finish();
    if (kind === 1n) return equivocation(first, second);
    if (kind === 2n) return brokenPromise(await verifyReceipt(first), await verifyStatus(second));
    throw new ReceiptError("kind", `proof kind ${kind} is not known to this version`);
  });
}

/** @param {Uint8Array} first @param {Uint8Array} second @returns {Promise<Wrong>} */
async function equivocation(first, second) {
  if (compare(first, second) >= 0) throw nothing("the two records are not in ascending order of their bytes");
  const lesser = new SignedRecord(first);
  const greater = new SignedRecord(second);
  if (!lesser.name.equals(greater.name)) throw nothing("the two records are of two names");
  if (lesser.rank.compareOrder(greater.rank) !== 0) throw nothing("one of the two records simply follows the other");
  await lesser.verify();
  await greater.verify();
  return { what: "equivocation", of: lesser.name, lesser: lesser.rank, greater: greater.rank };
}

/** @param {Promised} promise @param {Status} status @returns {Wrong} */
function brokenPromise(promise, status) {
  if (!promise.provider.equals(status.provider)) throw nothing("the receipt and the status are of two providers");
  if (!promise.name.equals(status.name)) throw nothing("the receipt and the status are about two names");
  if (status.time <= promise.time) throw nothing("the status was given before the promise");
  if (promise.keepUntil !== undefined && status.time / 1_000_000n >= promise.keepUntil) throw nothing("the status was given after the promise ended");
  // Where only the digests differ the bytes decide, and nobody but who has them knows which are larger.
  if (status.rank && status.rank.compareOrder(promise.rank) >= 0) throw nothing("the promise was kept");
  return { what: "broken promise", of: promise.provider, promise, status };
}

/** @param {Uint8Array} body @returns {Promised} */
function readPromised(body) {
  const reader = new Reader(body);
  const fields = reader.fields();
  const next = () => fields.next().value ?? undefined;
  expect(next(), 1n, reader);
  expect(reader.uint(), 1n, reader);
  expect(next(), 2n, reader);
  const provider = new Name(reader.bytes());
  expect(next(), 3n, reader);
  const name = new Name(reader.bytes());
  expect(next(), 4n, reader);
  const rank = Rank.read(reader);
  expect(next(), 5n, reader);
  const time = reader.uint();
  let keepUntil;
  const key = next();
  if (key !== undefined) {
    expect(key, 6n, reader);
    keepUntil = reader.uint();
    expect(next(), undefined, reader);
  }
  reader.finish();
  return Object.freeze({ provider, name, rank, time, keepUntil });
}

/**
 * A statement that a provider signed: its genesis, its chain, when, and the rest.
 * @template T
 * @param {string} domain
 * @param {Uint8Array} bytes
 * @param {(reader: Reader, next: () => bigint | undefined) => T} read the fields from 5 on
 * @returns {Promise<{ provider: Name, time: bigint, rest: T }>}
 */
async function openSigned(domain, bytes, read) {
  const opened = open(bytes);
  if (!opened) throw new ReceiptError("envelope", "not the one envelope that is accepted");
  const reader = new Reader(opened.payload);
  const fields = reader.fields();
  const next = () => fields.next().value ?? undefined;
  expect(next(), 1n, reader);
  expect(reader.uint(), 1n, reader);
  expect(next(), 2n, reader);
  const genesis = readGenesis(reader);
  let key = next();
  /** @type {import("./keys.js").Link[]} */
  let chain = [];
  if (key === 3n) {
    chain = readChain(reader);
    key = next();
  }
  expect(key, 4n, reader);
  const time = reader.uint();
  const rest = read(reader, next);
  expect(next(), undefined, reader);
  reader.finish();
  await checkSignature(currentKey(genesis, chain), domain, opened.payload, opened.signature);
  return { provider: nameOf(genesis), time, rest };
}

/**
 * From a leaf up to the top (RFC 9162 §2.1.3.2); `undefined` if the path has too much or too little.
 * @param {Uint8Array} leaf @param {bigint} index @param {bigint} leaves @param {Uint8Array[]} path
 * @returns {Uint8Array | undefined}
 */
function fold(leaf, index, leaves, path) {
  if (index >= leaves) return undefined;
  let [at, last, hash] = [index, leaves - 1n, leaf];
  for (const sibling of path) {
    // The last of a level that has no sibling rises as it is.
    while (at === last && at % 2n === 0n && last > 0n) {
      at /= 2n;
      last /= 2n;
    }
    if (last === 0n) return undefined;
    hash = at % 2n === 1n ? sha256(NODE, sibling, hash) : sha256(NODE, hash, sibling);
    at /= 2n;
    last /= 2n;
  }
  return last === 0n ? hash : undefined;
}

/** @param {bigint | undefined} found @param {bigint | undefined} wanted @param {Reader} reader */
function expect(found, wanted, reader) {
  if (found !== wanted) throw new EncodingError("another field than expected", reader.position);
}

/** @param {string} message */
function nothing(message) {
  return new ReceiptError("proves-nothing", message);
}

/** Whatever is wrong with it, it is the provider's turn. @template T @param {() => Promise<T>} act @returns {Promise<T>} */
async function guarded(act) {
  try {
    return await act();
  } catch (error) {
    if (error instanceof ReceiptError || !(error instanceof DialtoneError)) throw error;
    throw new ReceiptError(error.reason, error.message, { cause: error });
  }
}

const PATH_MAX = 64n;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
