/** What things are called on the page. */

import { ipText } from "../src/addresses.js";
import { toHex } from "../src/bytes.js";
import { secondOf } from "../src/record.js";

/** A name, cut short where it need only be told from others. @param {import("../src/index.js").Name | string} name */
export function short(name) {
  const text = String(name);
  return `${text.slice(0, 8)}…${text.slice(-6)}`;
}

/** @param {number} seconds since 1970 */
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `second ${seconds}` : date.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

/** How long, in its largest two units. @param {number} seconds */
export function duration(seconds) {
  const units = /** @type {const} */ ([["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]]);
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 seconds";
  let left = Math.floor(seconds);
  const parts = units.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(left / size);
    left -= count * size;
    return count > 0 ? `${count} ${unit}${count === 1 ? "" : "s"}` : "";
  });
  return parts.filter(Boolean).join(" ");
}

/** @param {bigint} sequence */
export function signedAt(sequence) {
  return moment(secondOf(sequence));
}

/** @type {Record<import("../src/index.js").Turn, string>} */
export const TURNS = {
  caller: "Your turn: check what was typed.",
  publisher: "The publisher's turn: whoever holds the key of the name.",
  provider: "The provider's turn.",
  network: "Nobody's turn: try again in a moment.",
};

/** What led to a name. @param {import("../src/index.js").Node} node */
export function via({ via, service }) {
  return { asked: "asked for", service: `offers ${service}`, delegate: "stands in" }[via];
}

/** What was found of it, in a word or two. @param {import("../src/index.js").Node} node */
export function said({ said }) {
  return { record: "signature right", revoked: "revoked", absent: "no record", failed: "not found out", cycle: "a loop", limit: "too far" }[said];
}

/** Its colour. @param {import("../src/index.js").Node} node @returns {"good" | "warn" | "bad"} */
export function tone({ said }) {
  return said === "record" ? "good" : said === "absent" || said === "limit" || said === "cycle" ? "warn" : "bad";
}

/** Where an endpoint is. @param {import("../src/index.js").Endpoint} endpoint */
export function place({ ip, host, port }) {
  const where = ip?.includes(":") && port !== undefined ? `[${ip}]` : (ip ?? host ?? "?");
  return port === undefined ? where : `${where}:${port}`;
}

/** A binding, spelt out: what it is, and what it says. @param {import("../src/index.js").Binding} binding @returns {[string, string[]]} */
export function binding(binding) {
  switch (binding.kind) {
    case "address":
      return ["address", [ipText(binding.ip), binding.region ? `in ${binding.region}` : "", preference(binding)]];
    case "service":
      return [
        "service",
        [
          `${binding.label} over ${binding.transport}, port ${binding.port}`,
          binding.target ? `at ${binding.target}` : "at the addresses of this record",
          binding.alpn.length > 0 ? `speaks ${binding.alpn.join(", ")}` : "",
          preference(binding),
          ...binding.pins.map((pin) => `shows the key ${toHex(pin)}`),
        ],
      ];
    case "delegate":
      return ["delegate", binding.path.map((step, at) => `${at === 0 ? "goes to" : "then to"} ${step}`)];
    case "dns":
      return ["DNS", [`${binding.owner || "@"} ${binding.ttl} ${TYPES[binding.type] ?? `TYPE${binding.type}`}`, rdata(binding.type, binding.rdata)]];
    case "opaque":
      return ["opaque", [binding.mediaType, `${binding.bytes.length} bytes: ${printable(binding.bytes) ?? toHex(binding.bytes)}`]];
  }
}

/** @param {{ priority: number, weight: number }} binding */
function preference({ priority, weight }) {
  return [priority && `priority ${priority}`, weight && `weight ${weight}`].filter(Boolean).join(", ");
}

/** @param {number} type @param {Uint8Array} bytes */
function rdata(type, bytes) {
  if (type === 1 || type === 28) return ipText(bytes);
  if (type === 16) return strings(bytes).map((text) => JSON.stringify(text)).join(" ");
  return toHex(bytes);
}

/** The strings of a TXT, already known to fit. @param {Uint8Array} bytes */
function strings(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length; at += bytes[at] + 1) found.push(String.fromCharCode(...bytes.subarray(at + 1, at + 1 + bytes[at])));
  return found;
}

/** @param {Uint8Array} bytes */
function printable(bytes) {
  const text = new TextDecoder().decode(bytes);
  return /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}

/** @type {Record<number, string>} */
const TYPES = { 1: "A", 5: "CNAME", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 44: "SSHFP", 52: "TLSA", 64: "SVCB", 65: "HTTPS", 256: "URI", 257: "CAA" };
