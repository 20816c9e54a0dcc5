/** The layers as a drawing: a box a name, an arrow where one leads to another, a tag for each place to go. */

import { svg } from "./elements.js";
import { place, said, short, tone, via } from "./words.js";

/** @typedef {import("../src/index.js").Node} Layer */
/** @typedef {{ x: number, y: number, width: number, height: number, parent: Box | undefined, layer?: Layer, places?: string[], column: number }} Box */

const WIDTH = 232;
const HEIGHT = 78;
const ACROSS = 64;
const DOWN = 18;
const INDENT = 26;
const TAG_LINE = 22;

/**
 * Draws a tree, beside one another where there is room, one under the other where there is not.
 * @param {Layer} tree
 * @param {readonly import("../src/index.js").Endpoint[]} endpoints
 * @param {number} room pixels across
 * @param {(layer: Layer) => void} choose what happens when a box is chosen
 * @returns {SVGElement}
 */
export function draw(tree, endpoints, room, choose) {
  const boxes = wide(tree, endpoints);
  const across = Math.max(...boxes.map(({ x, width }) => x + width)) + 2;
  const isWide = across <= room;
  if (!isWide) narrow(boxes, room);
  const size = { width: isWide ? across : room, height: Math.max(...boxes.map(({ y, height }) => y + height)) + 2 };
  const drawing = svg("svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-labelledby": "layers-title" });
  for (const box of boxes) if (box.parent) drawing.append(arrow(box.parent, box, isWide));
  for (const box of boxes) drawing.append(box.layer ? nameBox(box, box.layer, choose) : tags(box));
  drawing.addEventListener("keydown", (event) => move(drawing, event));
  return drawing;
}

/** From left to right: a column a layer, a row a leaf. @param {Layer} tree @param {readonly import("../src/index.js").Endpoint[]} endpoints @returns {Box[]} */
function wide(tree, endpoints) {
  /** @type {Box[]} */
  const boxes = [];
  let bottom = 1;
  /** @param {Layer} layer @param {Box | undefined} parent @param {number} column @param {string[]} path */
  const put = (layer, parent, column, path) => {
    /** @type {Box} */
    const box = { x: 1 + column * (WIDTH + ACROSS), y: bottom, width: WIDTH, height: HEIGHT, parent, layer, column };
    boxes.push(box);
    const here = [...path, String(layer.name)];
    const children = layer.children.map((child) => put(child, box, column + 1, here));
    const places = new Set(endpoints.filter((endpoint) => endpoint.path.map(String).join() === here.join()).map(place));
    if (places.size > 0) {
      const height = places.size * TAG_LINE + 12;
      const tag = { x: 1 + (column + 1) * (WIDTH + ACROSS), y: bottom, width: WIDTH, height, parent: box, places: [...places], column: column + 1 };
      boxes.push(tag);
      children.push(tag);
      bottom += height + DOWN;
    }
    if (children.length > 0) {
      const [first, last] = [children[0], children[children.length - 1]];
      const middle = (first.y + first.height / 2 + last.y + last.height / 2) / 2;
      // What is lower than the box itself, which one tag alone may be, moves down to its middle.
      if (middle < box.y + HEIGHT / 2) first.y += box.y + HEIGHT / 2 - middle;
      else box.y = middle - HEIGHT / 2;
    }
    bottom = Math.max(bottom, box.y + HEIGHT + DOWN);
    return box;
  };
  put(tree, undefined, 0, []);
  return boxes;
}

/** One under the other, each a little further in than what led to it. @param {Box[]} boxes @param {number} room */
function narrow(boxes, room) {
  let y = 1;
  for (const box of boxes) {
    box.x = 1 + Math.min(box.column, 4) * INDENT;
    box.y = y;
    box.width = room - box.x - 2;
    y += box.height + DOWN;
  }
}

/** @param {Box} from @param {Box} to @param {boolean} isWide */
function arrow(from, to, isWide) {
  const [x, y] = [to.x, to.y + to.height / 2];
  const middle = from.y + from.height / 2;
  const start = from.x + from.width;
  const half = (x - start) / 2;
  const path = isWide
    ? `M${start} ${middle}C${start + half} ${middle} ${x - half} ${y} ${x - 6} ${y}`
    : `M${from.x + 13} ${from.y + from.height}V${y - 8}q0 8 8 8H${x - 5}`;
  return svg("g", { class: "arrow", "aria-hidden": "true" }, svg("path", { d: path }), svg("path", { class: "head", d: `M${x - 8} ${y - 4.5}L${x - 1} ${y}L${x - 8} ${y + 4.5}z` }));
}

/** @param {Box} box @param {Layer} layer @param {(layer: Layer) => void} choose */
function nameBox({ x, y, width, height }, layer, choose) {
  const state = said(layer);
  const isFirst = layer.via === "asked";
  const chooseIt = () => choose(layer);
  const group = svg(
    "g",
    {
      class: `name ${tone(layer)}`,
      tabindex: isFirst ? 0 : -1,
      role: "button",
      "aria-pressed": "false",
      "aria-label": `${via(layer)}: ${layer.name}: ${state}${layer.children.length > 0 ? `, leads to ${layer.children.length} more` : ""}`,
      click: chooseIt,
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        chooseIt();
      },
    },
    svg("rect", { x, y, width, height, rx: 10 }),
    svg("rect", { class: "edge", x: x + 8, y: y + 12, width: 4, height: height - 24, rx: 2 }),
    svg("text", { class: "via", x: x + 21, y: y + 22 }, via(layer)),
    svg("text", { class: "flat", x: x + 21, y: y + 43 }, short(layer.name)),
    svg("text", { class: "state", x: x + 21, y: y + 64 }, `${MARKS[tone(layer)]} ${state}`),
  );
  const { record } = layer;
  if (record) group.append(svg("text", { class: "aside", x: x + width - 12, y: y + 64, "text-anchor": "end" }, [record.rank.epoch > 0 && `key ${record.rank.epoch}`, layer.ttl !== undefined && `ttl ${layer.ttl} s`].filter(Boolean).join(" · ")));
  group.append(svg("title", {}, String(layer.name)));
  return group;
}

/** @param {Box} box */
function tags({ x, y, width, height, places = [] }) {
  const lines = places.map((text, at) => svg("text", { x: x + 12, y: y + 21 + at * TAG_LINE }, text));
  return svg("g", { class: "place" }, svg("rect", { x, y, width, height, rx: 10 }), ...lines);
}

/** The arrow keys go from box to box, in the order in which they are read. @param {SVGElement} drawing @param {KeyboardEvent} event */
function move(drawing, event) {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!by) return;
  const names = /** @type {SVGElement[]} */ ([...drawing.querySelectorAll(".name")]);
  const at = names.indexOf(/** @type {SVGElement} */ (document.activeElement));
  const next = names[at + by];
  if (at < 0 || !next) return;
  event.preventDefault();
  names.forEach((name) => name.setAttribute("tabindex", name === next ? "0" : "-1"));
  next.focus();
}

const MARKS = { good: "✓", warn: "–", bad: "✗" };
