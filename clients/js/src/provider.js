/** One provider, asked over HTTP (PROTOCOL.md §11). Whatever it says is checked here: it is believed nothing. */

import { DialtoneError, NameError, ProviderError } from "./errors.js";
import { Hit } from "./hip.js";
import { Name } from "./name.js";
import { Rank } from "./rank.js";
import { verifyReceipt, verifyStatus } from "./receipts.js";
import { FUTURE_SECS, RECORD_BYTES_MAX, nowSecs } from "./record.js";
import { SignedRecord } from "./signed.js";

/**
 * @typedef {object} ProviderOptions
 * @property {Name | string} [name] its name, where it is known: statements by another are refused. Otherwise it is asked, once
 * @property {string} [token] of an account there, for puts
 * @property {number} [timeoutMs] how long an exchange may take; 5,000
 * @property {typeof globalThis.fetch} [fetch] another fetch than the platform's
 */
/** @typedef {{ signal?: AbortSignal, fresh?: boolean }} AskOptions `fresh`: past every cache in between */
/**
 * @typedef {{ said: "record", record: import("./signed.js").VerifiedRecord, ttl: number | undefined } | { said: "absent" } | { said: "expired" }} Said
 * what a provider says of a name: a verified record of it, which may be a revocation, and how long it may be kept; or that there is none;
 * or that the newest one has expired
 */
/** @typedef {{ name: Name, origin: string }} Info what a provider says of itself */

/** A provider at a URL. */
export class Provider {
  #fetch;
  #token;
  #timeoutMs;
  /** @type {Name | undefined} */
  #pinned;
  /** @type {Promise<Info> | undefined} */
  #info;

  /** @param {string | URL} url the base of its HTTP API @param {ProviderOptions} [options] */
  constructor(url, { name, token, timeoutMs = TIMEOUT_MS, fetch } = {}) {
    let parsed;
    try {
      parsed = new URL(url);
    } catch {
      parsed = undefined;
    }
    if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password || parsed.search || parsed.hash) {
      throw new ProviderError("url", `${JSON.stringify(String(url))} is not a provider: write http://host:port or https://host`, "caller");
    }
    /** The base of its HTTP API, without a final slash. */
    this.url = parsed.href.replace(/\/+$/, "");
    this.#pinned = name === undefined ? undefined : Name.parse(name);
    this.#token = token;
    this.#timeoutMs = timeoutMs;
    this.#fetch = fetch ?? ((/** @type {string} */ url, /** @type {RequestInit} */ init) => globalThis.fetch(url, init));
  }

  /** Its name: the one handed in, or what it says. @param {AskOptions} [options] @returns {Promise<Name>} */
  async name(options) {
    return this.#pinned ?? (await this.info(options)).name;
  }

  /** What it says of itself; asked once. @param {AskOptions} [options] @returns {Promise<Info>} @throws {ProviderError} */
  info(options = {}) {
    this.#info ??= this.#askInfo(options).catch((error) => {
      this.#info = undefined;
      throw error;
    });
    return this.#info;
  }

  /**
   * What it holds of a name, verified (§8) and current.
   * @param {Name} name
   * @param {AskOptions} [options]
   * @returns {Promise<Said>}
   * @throws {ProviderError} nothing certain was said
   * @throws {import("./errors.js").RecordError | import("./errors.js").VerifyError} what was said cannot be believed
   */
  async record(name, options = {}) {
    return this.#said(`/v1/records/${name}`, name, options);
  }

  /**
   * The record of highest rank that it holds among those of names whose key has this tag: verified, current, and with that tag (§19).
   * @param {Hit} hit
   * @param {AskOptions} [options]
   * @returns {Promise<Said>}
   * @throws {ProviderError} nothing certain was said
   * @throws {import("./errors.js").RecordError | import("./errors.js").VerifyError} what was said cannot be believed
   */
  async recordByHit(hit, options = {}) {
    const said = await this.#said(`/v1/hits/${hit}`, undefined, options);
    if (said.said === "record" && (said.record.says.revoked || !Hit.of(said.record.key).equals(hit))) {
      throw this.#broken(`the key of ${said.record.name} does not have the tag ${hit}`);
    }
    return said;
  }

  /** @param {string} path @param {Name | undefined} name whose record it must be, where that is known @param {AskOptions} options @returns {Promise<Said>} */
  async #said(path, name, options) {
    const { response, body } = await this.#ask(path, { headers: { accept: Media.Record } }, options, RECORD_BYTES_MAX);
    if (response.status === 404) {
      const problem = response.headers.get("dialtone-problem");
      if (problem === "absent") return { said: "absent" };
      if (problem === "stale") return { said: "expired" };
    }
    if (response.status !== 200) throw this.#refusal(response, body);
    const record = await new SignedRecord(body).verify(name);
    const age = /(?:^|[\s,])max-age=(\d{1,10})(?:$|[\s,])/i.exec(response.headers.get("cache-control") ?? "");
    return { said: "record", record, ttl: age ? Number(age[1]) : undefined };
  }

  /**
   * Its signed word on what it holds of a name now; no `rank` is a signed absence.
   * @param {Name} name
   * @param {AskOptions} [options]
   * @returns {Promise<import("./receipts.js").Status>}
   * @throws {ProviderError | import("./errors.js").ReceiptError}
   */
  async status(name, options = {}) {
    const { response, body } = await this.#ask(`/v1/records/${name}/status`, { headers: { accept: Media.Status } }, options);
    if (response.status !== 200) throw this.#refusal(response, body);
    const status = await verifyStatus(body);
    const away = Math.abs(Number(status.time / 1_000_000n) - nowSecs());
    if (!status.name.equals(name)) throw this.#broken(`it was asked for the status of ${name} and signed one of ${status.name}`);
    if (!status.provider.equals(await this.name(options))) throw this.#broken(`the status is signed by ${status.provider}`);
    if (away > FUTURE_SECS) throw this.#broken(`the status is ${away} s away from this machine's clock`);
    return status;
  }

  /**
   * Puts a record, and checks the receipt. An error with a status of 500 and above, or none, means "unknown", never "not stored".
   * @param {SignedRecord} record
   * @param {AskOptions & { ifHeld?: Rank | "nothing" | "something" }} [options] `ifHeld`: only if this is what is held now
   * @returns {Promise<import("./receipts.js").Promised>}
   * @throws {ProviderError | import("./errors.js").ReceiptError}
   */
  async put(record, options = {}) {
    const { ifHeld } = options;
    /** @type {Record<string, string>} */
    const headers = { "content-type": Media.Record, accept: Media.Receipt };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    if (ifHeld === "nothing") headers["if-none-match"] = "*";
    else if (ifHeld) headers["if-match"] = ifHeld === "something" ? "*" : `"${ifHeld}"`;
    const { response, body } = await this.#ask(`/v1/records/${record.name}`, { method: "PUT", headers, body: record.bytes }, options);
    if (response.status !== 200 && response.status !== 201) throw this.#refusal(response, body);
    const promised = await verifyReceipt(body);
    const right = promised.name.equals(record.name) && promised.rank.equals(record.rank) && promised.provider.equals(await this.name(options));
    if (!right) throw this.#broken("it acknowledged the record, but its receipt promises something else, or is another's");
    return promised;
  }

  /** @param {AskOptions} options @returns {Promise<Info>} */
  async #askInfo(options) {
    const { response, body } = await this.#ask("/v1/info", { headers: { accept: "application/json" } }, options);
    try {
      const said = response.status === 200 ? JSON.parse(new TextDecoder().decode(body)) : undefined;
      if (typeof said?.origin === "string") return Object.freeze({ name: Name.parse(said.name), origin: said.origin });
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof NameError)) throw error;
    }
    throw new ProviderError("not-a-provider", `${this.url} answers HTTP, but not as a provider does`, "caller", { status: response.status });
  }

  /**
   * @param {string} path
   * @param {RequestInit} request
   * @param {AskOptions} options
   * @param {number} [most] bytes of a body that is read
   */
  async #ask(path, request, { signal, fresh }, most = BODY_BYTES_MAX) {
    const ended = AbortSignal.timeout(this.#timeoutMs);
    try {
      const response = await this.#fetch(this.url + path, {
        credentials: "omit",
        cache: fresh ? "no-store" : "default",
        ...request,
        signal: signal ? AbortSignal.any([signal, ended]) : ended,
      });
      // A problem may be longer than what was asked for.
      return { response, body: await this.#read(response, response.ok ? most : BODY_BYTES_MAX) };
    } catch (cause) {
      if (cause instanceof DialtoneError) throw cause;
      if (signal?.aborted) throw signal.reason;
      if (ended.aborted) throw new ProviderError("timeout", `${this.url} did not answer within ${this.#timeoutMs} ms`, "network", { cause });
      throw new ProviderError("unreachable", `${this.url} was not reached: ${reasonOf(cause)}`, "network", { cause });
    }
  }

  /** @param {Response} response @param {number} most @returns {Promise<Uint8Array<ArrayBuffer>>} */
  async #read(response, most) {
    const body = new Uint8Array(most);
    let length = 0;
    const reader = response.body?.getReader();
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
      if (length + next.value.length > most) {
        await reader?.cancel();
        throw this.#broken(`its answer is larger than the ${most} bytes that are read`);
      }
      body.set(next.value, length);
      length += next.value.length;
    }
    return body.slice(0, length);
  }

  /** Problem details (RFC 9457), or whatever else it said. @param {Response} response @param {Uint8Array} body */
  #refusal(response, body) {
    const { status, headers } = response;
    let problem;
    try {
      problem = JSON.parse(new TextDecoder().decode(body));
    } catch {
      problem = undefined; // a record, or a proxy's page
    }
    const reason = headers.get("dialtone-problem") ?? "http";
    const turn = /** @type {Record<string, import("./errors.js").Turn>} */ ({ publisher: "publisher", provider: "provider", client: "caller" })[problem?.turn];
    const detail = [problem?.title, problem?.detail].filter((part) => typeof part === "string").join(": ");
    const wait = headers.get("retry-after");
    return new ProviderError(reason, `${this.url} said ${status}${detail && `: ${detail}`}`, turn ?? (status < 500 ? "publisher" : "provider"), {
      status,
      retryAfter: wait !== null && /^\d{1,9}$/.test(wait) ? Number(wait) : undefined,
      rank: Rank.parse((headers.get("etag") ?? "").replace(/^"|"$/g, "")),
    });
  }

  /** @param {string} why */
  #broken(why) {
    return new ProviderError("broken", `${this.url} is broken, or lies: ${why}`, "provider");
  }
}

/** What `fetch` hides in a cause. @param {unknown} error */
function reasonOf(error) {
  const { cause, message } = /** @type {Error} */ (error);
  return /** @type {{ code?: string }} */ (cause)?.code ?? message;
}

const Media = { Record: "application/vnd.dialtone.record", Receipt: "application/vnd.dialtone.receipt", Status: "application/vnd.dialtone.status" };
/** A resolver in front waits about as long. */
const TIMEOUT_MS = 5_000;
/** Receipts and problems have a few kB. */
const BODY_BYTES_MAX = 64 * 1024;
