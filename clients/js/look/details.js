/** What one name on the way says, and how it was checked. */

import { toHex } from "../src/bytes.js";
import { Hit } from "../src/hip.js";
import { check } from "./checks.js";
import { html } from "./elements.js";
import { TURNS, binding, duration, moment, said, signedAt, tone, via } from "./words.js";

/**
 * Everything about one layer.
 * @param {import("../src/index.js").Node} layer
 * @returns {Promise<HTMLElement[]>}
 */
export async function details(layer) {
  const title = html("h2", {}, "This name ", html("span", { class: `badge ${tone(layer)}` }, said(layer)));
  const name = html("p", { class: "flat whole" }, String(layer.name));
  if (!layer.record) return [title, name, ...whyNot(layer)];
  const { record } = layer;
  const { says } = record;
  const list = html("div", {}, checkList(await check(record.bytes, layer.name)));
  return [
    title,
    name,
    html("p", {}, `${sentence(via(layer))}. Signed ${signedAt(says.sequence)}${says.expiry === undefined ? "" : `, valid until ${moment(says.expiry)}`}${says.ttl === undefined ? "" : `, to be kept for ${duration(says.ttl)}`}.`),
    html("h3", {}, "Checked in this browser"),
    list,
    breaking(record, layer.name, list),
    html("h3", {}, says.revoked ? "It is revoked" : "It says"),
    says.revoked ? html("p", {}, "The key of this epoch is lost: nothing else of the epoch counts. Only a rotation outranks it.") : bindings(says.bindings),
    says.scope.length > 0 ? html("p", {}, `Only these providers may hold it: ${says.scope.join(", ")}`) : html("p", { class: "quiet" }, "Any provider may hold it."),
    says.revoked ? undefined : html("h3", {}, "The tag of its key"),
    says.revoked ? undefined : html("p", { class: "mono whole tag" }, String(Hit.of(record.key))),
    html("h3", {}, "Its place in the order"),
    html("p", { class: "mono whole" }, String(record.rank)),
    html("details", {}, html("summary", {}, `The ${record.bytes.length} signed bytes`), html("p", { class: "mono whole" }, toHex(record.bytes))),
  ].filter((part) => part !== undefined);
}

/** @param {import("../src/index.js").Node} layer */
function whyNot({ said, reason, error, answers }) {
  const { status } = answers.find(({ status }) => status) ?? {};
  return [
    html("p", {}, sentence(reason ?? said)),
    error ? html("p", { class: "quiet" }, TURNS[error.turn]) : undefined,
    status ? html("p", {}, `The provider ${status.provider} signed at ${moment(Number(status.time / 1_000_000n))} that it holds nothing of it; this browser checked that, too.`) : undefined,
  ].filter((part) => part !== undefined);
}

/** @param {import("./checks.js").Check[]} checks */
function checkList(checks) {
  return html(
    "ol",
    { class: "checks" },
    ...checks.map(({ what, right, detail }) => html("li", { class: right ? "good" : "bad" }, html("span", {}, right ? "✓" : "✗", html("span", { class: "unseen" }, right ? " right:" : " wrong:")), html("div", {}, html("strong", {}, what), html("small", {}, detail)))),
  );
}

/**
 * A bit of the record is changed, and everything checked again: so that nobody need believe that it is checked at all.
 * @param {import("../src/index.js").VerifiedRecord} record
 * @param {import("../src/index.js").Name} name
 * @param {HTMLElement} list
 */
function breaking(record, name, list) {
  let isBroken = false;
  const button = html(
    "button",
    {
      type: "button",
      class: "plain",
      click: async () => {
        isBroken = !isBroken;
        const bytes = record.bytes;
        if (isBroken) {
          // Among the last bytes of what is signed, where it says something.
          const at = bytes.length - 67 - Math.floor(Math.random() * 8);
          bytes[at] ^= 1 << Math.floor(Math.random() * 8);
          said.textContent = `One bit of byte ${at + 1} was changed, in this browser only.`;
        } else said.textContent = "";
        list.replaceChildren(checkList(await check(bytes, name)));
        button.textContent = isBroken ? "Take the record as it is" : "Change one bit, and check again";
      },
    },
    "Change one bit, and check again",
  );
  const said = html("span", { class: "quiet", role: "status" });
  return html("p", {}, button, " ", said);
}

/** @param {readonly import("../src/index.js").Binding[]} all */
function bindings(all) {
  if (all.length === 0) return html("p", {}, "Nothing: it is withdrawn.");
  const rows = all.map(binding).map(([kind, [first, ...rest]]) => html("tr", {}, html("th", { scope: "row" }, kind), html("td", {}, html("div", {}, first), ...rest.filter(Boolean).map((line) => html("small", {}, line)))));
  return html("table", {}, html("tbody", {}, ...rows));
}

/** @param {string} text */
function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}
