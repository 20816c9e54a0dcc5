/**
 * What can go wrong, and whose turn it is then. Every error of this library is a {@link DialtoneError}.
 *
 * | turn        | who has to act                                                            |
 * |-------------|---------------------------------------------------------------------------|
 * | `caller`    | whoever called: what was typed or handed in is not what it must be        |
 * | `publisher` | whoever signs the record, or holds the account                            |
 * | `provider`  | the provider: it is broken, overloaded, or lies                           |
 * | `network`   | nobody was reached; try again, or ask another provider                    |
 */

/** @typedef {"caller" | "publisher" | "provider" | "network"} Turn */

/** An error that says whose turn it is (`turn`) and, in one word, why (`reason`). */
export class DialtoneError extends Error {
  /**
   * @param {string} reason one word, stable: what programs look at
   * @param {string} message a sentence for people
   * @param {Turn} turn
   * @param {{ cause?: unknown }} [options]
   */
  constructor(reason, message, turn, options) {
    super(message, options);
    this.name = new.target.name;
    this.reason = reason;
    this.turn = turn;
  }
}

/** A text or bytes that are not a name. The writer's turn; reasons are those of PROTOCOL.md §2. */
export class NameError extends DialtoneError {
  /** @param {string} reason @param {string} message */
  constructor(reason, message) {
    super(reason, message, "caller");
  }
}

/** Bytes that are not deterministic CBOR of the expected shape (PROTOCOL.md §1). The turn of whoever wrote them. */
export class EncodingError extends DialtoneError {
  /** @param {string} message @param {number} at which byte */
  constructor(message, at) {
    super("encoding", `${message} at byte ${at}`, "publisher");
    this.at = at;
  }
}

/** Bytes that are not a record (PROTOCOL.md §8, steps 1 to 3). Reasons are those of the vectors. */
export class RecordError extends DialtoneError {
  /** @param {string} reason @param {string} message @param {{ cause?: unknown }} [options] */
  constructor(reason, message, options) {
    super(reason, message, "publisher", options);
  }
}

/** A record that is not to be believed: of another name (`other-name`), by a refused `key`, or with a wrong `signature`. */
export class VerifyError extends DialtoneError {
  /** @param {string} reason @param {string} message @param {Turn} [turn] */
  constructor(reason, message, turn = "publisher") {
    super(reason, message, turn);
  }
}

/** A receipt, status or proof that proves nothing (PROTOCOL.md §9). The turn of the provider that gave it. */
export class ReceiptError extends DialtoneError {
  /** @param {string} reason @param {string} message @param {{ cause?: unknown }} [options] */
  constructor(reason, message, options) {
    super(reason, message, "provider", options);
  }
}

/** A provider that was not reached, or said no. What a put did is then unknown, unless `status` is between 400 and 499. */
export class ProviderError extends DialtoneError {
  /**
   * @param {string} reason the word of the header `Dialtone-Problem`, or one of `unreachable`, `timeout`, `not-a-provider`
   * @param {string} message
   * @param {Turn} turn
   * @param {{ cause?: unknown, status?: number, retryAfter?: number, rank?: import("./rank.js").Rank }} [more]
   */
  constructor(reason, message, turn, more = {}) {
    super(reason, message, turn, more.cause === undefined ? undefined : { cause: more.cause });
    /** The HTTP status, if there was an answer. */
    this.status = more.status;
    /** Seconds after which it is worth trying again, if the provider says. */
    this.retryAfter = more.retryAfter;
    /** The rank of what is held there, where that is part of the answer. Not verified: it is what the provider says. */
    this.rank = more.rank;
  }
}

/**
 * Nothing certain can be said about a name. Never means "absent". Reasons: `unreachable`, `unavailable`, `invalid`, `expired`,
 * `rolled-back`, `busy`.
 */
export class LookupError extends DialtoneError {
  /**
   * @param {string} reason
   * @param {string} message
   * @param {Turn} turn
   * @param {import("./resolver.js").Answer[]} [answers] what each provider said
   */
  constructor(reason, message, turn, answers = []) {
    super(reason, message, turn);
    this.answers = answers;
  }
}
