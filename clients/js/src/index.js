/**
 * Resolves Dialtone names and checks every signature itself, in Node and in browsers, with nothing but the platform. Written from
 * docs/PROTOCOL.md, whose sections the comments name.
 *
 * ```js
 * import { Resolver } from "@dialtone/client";
 *
 * const { endpoints } = await new Resolver("http://127.0.0.1:4380").resolve(name, { service: "https" });
 * ```
 */

export { ipText, parseIp } from "./addresses.js";
export { engine } from "./ed25519.js";
export { DialtoneError, EncodingError, LookupError, NameError, ProviderError, ReceiptError, RecordError, VerifyError } from "./errors.js";
export { Floor } from "./floor.js";
export { Hit } from "./hip.js";
export { trouble } from "./layers.js";
export { Name, ORIGIN, Scheme } from "./name.js";
export { Provider } from "./provider.js";
export { Rank } from "./rank.js";
export { verifyProof, verifyReceipt, verifyStatus } from "./receipts.js";
export { Resolver } from "./resolver.js";
export { SignedRecord, VerifiedRecord, signRecord } from "./signed.js";

/** @typedef {import("./bindings.js").Binding} Binding */
/** @typedef {import("./bindings.js").Step} Step */
/** @typedef {import("./errors.js").Turn} Turn */
/** @typedef {import("./keys.js").Genesis} Genesis */
/** @typedef {import("./layers.js").Endpoint} Endpoint */
/** @typedef {import("./layers.js").Node} Node */
/** @typedef {import("./layers.js").Resolution} Resolution */
/** @typedef {import("./receipts.js").Promised} Promised */
/** @typedef {import("./receipts.js").Status} Status */
/** @typedef {import("./receipts.js").Wrong} Wrong */
/** @typedef {import("./record.js").Record} Record */
/** @typedef {import("./resolver.js").Answer} Answer */
/** @typedef {import("./resolver.js").Lookup} Lookup */
