/** The checks of PROTOCOL.md §8, one by one and in order, so that each can be seen; the first that fails ends them. */

import { toHex } from "../src/bytes.js";
import { engine, refuseKey, verify } from "../src/ed25519.js";
import { Domain, open, toBeSigned } from "../src/envelope.js";
import { currentKey, nameOf } from "../src/keys.js";
import { decodePayload, nowSecs, timeliness } from "../src/record.js";
import { duration, moment, short, signedAt } from "./words.js";

/** @typedef {{ what: string, right: boolean, detail: string }} Check */

/**
 * @param {Uint8Array} bytes an envelope
 * @param {import("../src/index.js").Name} name the one that it should be of
 * @returns {Promise<Check[]>}
 */
export async function check(bytes, name) {
  /** @type {Check[]} */
  const done = [];
  /** @type {any} */
  const found = {};
  for (const [what, act] of STEPS) {
    try {
      done.push({ what, right: true, detail: await act(found, bytes, name) });
    } catch (error) {
      done.push({ what, right: false, detail: /** @type {Error} */ (error).message });
      break;
    }
  }
  return done;
}

/** Each says what it found, or throws why not. @type {readonly [string, (found: any, bytes: Uint8Array, name: import("../src/index.js").Name) => string | Promise<string>][]} */
const STEPS = [
  [
    "The envelope is the one",
    (found, bytes) => {
      found.opened = open(bytes);
      if (!found.opened) throw new Error("it is another, or none");
      return `${bytes.length} bytes, of which ${found.opened.payload.length} are signed`;
    },
  ],
  [
    "The encoding has one spelling",
    (found) => {
      found.says = decodePayload(found.opened.payload);
      const { bindings, revoked } = found.says;
      return revoked ? "a revocation" : `${bindings.length} binding${bindings.length === 1 ? "" : "s"}, each within its bounds`;
    },
  ],
  [
    "The key chain is the one committed to",
    (found) => {
      found.key = currentKey(found.says.genesis, found.says.chain);
      const links = found.says.chain.length;
      const rest = found.says.genesis.next ? "" : "; this name cannot rotate";
      return links > 0 ? `rotated ${links} time${links === 1 ? "" : "s"}, each key committed to by the one before` : `the first key of the name${rest}`;
    },
  ],
  [
    "The name is the hash of its genesis",
    (found, _, name) => {
      const hashed = nameOf(found.says.genesis);
      if (!hashed.equals(name)) throw new Error(`the genesis hashes to ${hashed}`);
      return short(name);
    },
  ],
  [
    "It is current",
    ({ says }) => {
      const when = timeliness(says, nowSecs());
      if (when === "future") throw new Error(`it was signed in the future, at ${signedAt(says.sequence)}`);
      if (when === "expired") throw new Error(`it expired at ${moment(says.expiry)}`);
      const until = says.expiry === undefined ? "a revocation never expires" : `for ${duration(says.expiry - nowSecs())} more`;
      return `signed ${signedAt(says.sequence)}; ${until}`;
    },
  ],
  [
    "The key is a key",
    ({ key }) => {
      const refused = refuseKey(key);
      if (refused) throw new Error(refused === "small-order" ? "it is of small order and proves nothing" : "it is no point of the curve, or spelt in a second way");
      return toHex(key);
    },
  ],
  [
    "The signature is that key's",
    async ({ opened, key }) => {
      const started = performance.now();
      if (!(await verify(key, toBeSigned(Domain.Record, opened.payload), opened.signature))) throw new Error("it is not: the record was changed, or signed by somebody else");
      const took = performance.now() - started;
      const by = (await engine()) === "webcrypto" ? "WebCrypto" : "JavaScript";
      return `Ed25519, checked here by ${by} in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
    },
  ],
];
