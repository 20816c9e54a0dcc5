/**
 * The rollback floor: the highest rank seen of each name. A provider cannot forge a record, but it can hand out an old one; nothing below
 * the floor is believed.
 */

import { Rank } from "./rank.js";

/** Bounded; the names least recently asked for are forgotten first. To keep it, write down its entries and hand them in again. */
export class Floor {
  /** @type {Map<string, Rank>} */
  #ranks = new Map();
  #most;

  /** @param {Iterable<readonly [string, string]>} [entries] names and ranks as text; what is neither is passed over @param {number} [most] names */
  constructor(entries = [], most = NAMES_MAX) {
    this.#most = most;
    for (const [name, text] of entries) {
      const rank = Rank.parse(text);
      if (rank) this.raise(name, rank);
    }
  }

  /** @param {import("./name.js").Name | string} name @returns {Rank | undefined} the highest rank seen */
  rank(name) {
    return this.#ranks.get(String(name));
  }

  /**
   * Takes note of a rank that a verified record has. Where only the digests differ the order is not known, and the floor stays.
   * @param {import("./name.js").Name | string} name
   * @param {Rank} rank
   * @returns {boolean} whether the rank is at the floor or above, as far as can be told
   */
  raise(name, rank) {
    const key = String(name);
    const before = this.#ranks.get(key);
    const order = before ? rank.compareOrder(before) : 1;
    this.#ranks.delete(key);
    this.#ranks.set(key, order > 0 || !before ? rank : before);
    if (this.#ranks.size > this.#most) this.#ranks.delete(/** @type {string} */ (this.#ranks.keys().next().value));
    return order >= 0;
  }

  /** The least recently asked for first. @returns {Generator<[string, string], void, void>} */
  *[Symbol.iterator]() {
    for (const [name, rank] of this.#ranks) yield [name, rank.toString()];
  }
}

/** At about 200 bytes each, some 2 MB at the most. */
const NAMES_MAX = 10_000;
