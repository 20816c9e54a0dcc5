/**
 * The one envelope of every signed statement (PROTOCOL.md §1): COSE_Sign1 (RFC 9052), tag 18, protected {1: -19}, nothing unprotected.
 * Exactly this is accepted, byte for byte, so nothing unsigned can vary.
 */

import { compare, concat, utf8 } from "./bytes.js";
import { Reader, Writer } from "./cbor.js";

/** What is signed says in its external_aad which kind of statement it is. */
export const Domain = Object.freeze({
  Record: "dialtone/record/v1",
  Receipts: "dialtone/receipts/v1",
  Status: "dialtone/status/v1",
  Statement: "dialtone/statement/v1",
  Invite: "dialtone/invite/v1",
  Offer: "dialtone/offer/v1",
});

/**
 * Takes an envelope apart.
 * @param {Uint8Array} bytes
 * @returns {{ payload: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer> } | undefined} `undefined`: it is another envelope, or none
 */
export function open(bytes) {
  if (compare(bytes.subarray(0, HEAD.length), HEAD) !== 0) return undefined;
  try {
    const reader = new Reader(bytes.subarray(HEAD.length));
    const opened = { payload: reader.bytes(), signature: reader.bytes(64) };
    reader.finish();
    return opened;
  } catch {
    return undefined;
  }
}

/** @param {Uint8Array} payload @param {Uint8Array} signature of 64 bytes @returns {Uint8Array<ArrayBuffer>} */
export function seal(payload, signature) {
  return new Writer().raw(HEAD).bytes(payload).bytes(signature).take();
}

/** The Sig_structure: what is signed. @param {string} domain one of {@link Domain} @param {Uint8Array} payload @returns {Uint8Array<ArrayBuffer>} */
export function toBeSigned(domain, payload) {
  return new Writer().array(4).text("Signature1").bytes(PROTECTED).bytes(utf8(domain)).bytes(payload).take();
}

const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x32);
const HEAD = concat(Uint8Array.of(0xd2, 0x84, 0x43), PROTECTED, Uint8Array.of(0xa0));
