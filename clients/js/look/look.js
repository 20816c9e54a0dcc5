/** The page: a name goes in, its layers come out, each record checked by this browser. */

import { DialtoneError, Floor, Hit, LookupError, Name, Provider, Resolver, engine, trouble } from "../src/index.js";
import { details } from "./details.js";
import { draw } from "./drawing.js";
import { byId, html } from "./elements.js";
import { TURNS, place, short } from "./words.js";

const FLOOR = "dialtone/floor";
const provider = new Provider(new URL(".", location.href.replace(/[?#].*$/, "")));
const floor = new Floor(remembered());
const resolver = new Resolver({ providers: [provider], floor });
const origin = provider.info().then(introduce, (error) => {
  byId("provider").textContent = `The provider did not say who it is: ${error.message}`;
  return undefined;
});

/** @type {import("../src/index.js").Resolution | undefined} */
let shown;
/** @type {import("../src/index.js").Node | undefined} */
let chosen;
/** What is asked last is what is shown, whatever is answered last. */
let asked = 0;

byId("ask").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const text = byId("name").value.trim();
  if (location.hash.slice(1) === text) look(text);
  else location.hash = text; // so that it can be linked to, and gone back from
});
addEventListener("hashchange", fromLink);
new ResizeObserver(() => shown && redraw(shown)).observe(byId("layers"));
fromLink();

function fromLink() {
  let text = location.hash.slice(1);
  try {
    text = decodeURIComponent(text);
  } catch {
    // As it is, then: the name in it will not be one.
  }
  if (text === "") return;
  byId("name").value = text;
  look(text);
}

/** @param {string} text */
async function look(text) {
  const turn = ++asked;
  byId("found").setAttribute("aria-busy", "true");
  try {
    const under = await origin;
    const started = performance.now();
    const name = Hit.isMeant(text) ? await named(Hit.parse(text)) : Name.parse(text, under);
    const resolution = await resolver.resolve(name, { fresh: true, signedAbsence: true });
    if (turn === asked) show(resolution, performance.now() - started);
  } catch (error) {
    if (turn !== asked) return;
    fail(error);
  } finally {
    if (turn === asked) byId("found").setAttribute("aria-busy", "false");
  }
}

/** The name whose key has this tag, as the provider says and this browser makes sure. @param {Hit} hit */
async function named(hit) {
  const found = await resolver.lookupByHit(hit);
  if (found.said === "record") return found.record.name;
  throw new DialtoneError("absent", `This provider knows no name whose key has the tag ${hit}`, "publisher");
}

/** @param {import("../src/index.js").Resolution} resolution @param {number} took milliseconds */
async function show(resolution, took) {
  shown = resolution;
  remember();
  byId("trouble").hidden = true;
  byId("name").removeAttribute("aria-invalid");
  byId("found").hidden = false;
  byId("summary").replaceChildren(...summary(resolution, took, await engine()));
  byId("endpoints").replaceChildren(places(resolution.endpoints));
  chosen = resolution.tree;
  redraw(resolution);
  await choose(resolution.tree);
}

/** @param {unknown} error */
function fail(error) {
  const known = error instanceof DialtoneError ? error : undefined;
  shown = undefined;
  byId("found").hidden = true;
  byId("trouble").hidden = false;
  byId("trouble").replaceChildren(html("strong", {}, known instanceof LookupError ? "Nothing certain can be said of this name. " : "That did not work. "), known?.message ?? String(error), ". ", known ? TURNS[known.turn] : "");
  byId("name").setAttribute("aria-invalid", "true");
  if (!known) throw error;
}

/** @param {import("../src/index.js").Resolution} resolution */
function redraw({ tree, endpoints }) {
  const room = byId("layers");
  const before = room.querySelector("svg");
  const width = Math.floor(room.clientWidth);
  if (width < 100) return; // not to be seen
  if (before && before.dataset.room === String(width) && before.dataset.turn === String(asked)) return;
  const drawing = draw(tree, endpoints, width, choose);
  drawing.dataset.room = String(width);
  drawing.dataset.turn = String(asked);
  room.replaceChildren(drawing);
  press();
}

/** @param {import("../src/index.js").Node} layer */
async function choose(layer) {
  chosen = layer;
  press();
  const parts = await details(layer);
  if (chosen === layer) byId("details").replaceChildren(...parts);
}

/** Marks the box that is chosen. */
function press() {
  const layers = shown ? everyone(shown.tree) : [];
  byId("layers").querySelectorAll(".name").forEach((/** @type {Element} */ box, /** @type {number} */ at) => box.setAttribute("aria-pressed", String(layers[at] === chosen)));
}

/** In the order in which they are drawn. @param {import("../src/index.js").Node} layer @returns {import("../src/index.js").Node[]} */
function everyone(layer) {
  return [layer, ...layer.children.flatMap(everyone)];
}

/** @param {import("../src/index.js").Resolution} resolution @param {number} took @param {string} by */
function summary({ tree, endpoints }, took, by) {
  const records = everyone(tree).filter(({ record }) => record).length;
  const wrong = trouble(tree);
  const badge = (/** @type {string} */ tone, /** @type {string} */ text) => html("span", { class: `badge ${tone}` }, text);
  if (tree.said === "absent") return [badge("warn", "no record"), " This provider knows no record of the name, and signed that it holds none."];
  const checked = `${records === 1 ? "1 record, its signature" : `${records} records, every signature`} checked here by ${by === "webcrypto" ? "WebCrypto" : "JavaScript"}`;
  return [
    wrong ? badge("warn", "not all is well") : badge("good", "all right"),
    ` ${checked}; ${Math.round(took)} ms with all that was asked. `,
    endpoints.length === 0 ? "It leads nowhere. " : "",
    wrong ? `${short(wrong.name)}: ${wrong.reason ?? "revoked: its key is lost"}.` : "",
  ];
}

/** @param {readonly import("../src/index.js").Endpoint[]} endpoints */
function places(endpoints) {
  if (endpoints.length === 0) return html("p", { class: "quiet" }, "Nowhere.");
  return html(
    "ol",
    { class: "places" },
    ...endpoints.map((endpoint) =>
      html(
        "li",
        {},
        html("div", { class: "mono" }, place(endpoint)),
        html("small", {}, [endpoint.service && `${endpoint.service} over ${endpoint.transport}`, endpoint.alpn.length > 0 && endpoint.alpn.join(", "), endpoint.region && `in ${endpoint.region}`].filter(Boolean).join(" · ")),
        endpoint.pins.length > 0 && html("small", {}, `only with ${endpoint.pins.length === 1 ? "the key that is" : "one of the keys that are"} pinned`),
        endpoint.onward.length > 0 && html("small", {}, `and on to ${endpoint.onward.map((step) => (step instanceof Name ? short(step) : step)).join(", ")}`),
      ),
    ),
  );
}

/** @param {import("../src/provider.js").Info} info @returns {string} its origin */
function introduce({ name, origin }) {
  byId("provider").replaceChildren("This provider is ", html("a", { href: `#${name}`, class: "flat" }, short(name)), `; its names stand under ${origin}.`);
  return origin;
}

/** What was seen in earlier visits: an older record is not believed. */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(FLOOR) ?? "[]");
  } catch {
    return []; // kept by nobody, or damaged
  }
}

function remember() {
  try {
    localStorage.setItem(FLOOR, JSON.stringify([...floor]));
  } catch {
    // Nothing may be kept here: then the floor lasts as long as the page.
  }
}
