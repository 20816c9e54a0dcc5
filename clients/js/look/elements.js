/** Elements, made without ever reading text as markup. */

/** @typedef {string | number | Node | undefined | false} Child */

/**
 * @param {string} tag
 * @param {Record<string, string | number | boolean | undefined | ((event: any) => void)>} [attributes] a function is what happens on that event; `undefined` and `false` are left out
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** As {@link html}, for drawings. @param {string} tag @param {Record<string, any>} [attributes] @param {...Child} children @returns {SVGElement} */
export function svg(tag, attributes = {}, ...children) {
  return fill(/** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag)), attributes, children);
}

/** The element of the page with that id. @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @template {Element} T @param {T} element @param {Record<string, any>} attributes @param {Child[]} children @returns {T} */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== false).map((child) => (typeof child === "number" ? String(child) : /** @type {string | Node} */ (child))));
  return element;
}
