/**
 * Building elements. Text is always set as text, never parsed as HTML: keys and owners are written by strangers.
 * @typedef {Node|string|number|null|undefined|false} Child
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Attributes by name; `on…` are listeners, `style` an object, `dataset` an object, null and false are left out.
 * @param {string} tag  "td.n.key": with classes
 * @param {Object<string, any>} [attributes]
 * @param {...(Child|Child[])} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  dress(element, attributes);
  element.append(...flat(children));
  return element;
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Object<string, any>} [attributes]
 * @param {...(Child|Child[])} children
 * @returns {any}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  dress(element, attributes);
  element.append(...flat(children));
  return element;
}

/** @param {Element} element @param {Object<string, any>} attributes */
function dress(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(/** @type {any} */ (element).dataset, value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) /** @type {any} */ (element).style.setProperty(name, text);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
}

/** @param {any[]} children @returns {(Node|string)[]} */
function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** An icon of the sprite in templates/icons.html. @param {string} name */
export const icon = (name) => s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));

/** Replaces what is in `parent`; the same elements again are left alone, with their focus. @param {Element} parent @param {...(Child|Child[])} children */
export function fill(parent, ...children) {
  const wanted = flat(children);
  if (wanted.length === parent.childNodes.length && wanted.every((one, index) => one === parent.childNodes[index])) return;
  parent.replaceChildren(...wanted);
}

/**
 * The element of `root` with this `data-part`. It is in the template, or the template is wrong.
 * @param {ParentNode} root @param {string} part @returns {any}
 */
export function part(root, part) {
  const found = root.querySelector(`[data-part="${part}"]`);
  if (!found) throw new Error(`no part ${part}`);
  return found;
}

/**
 * Makes `old` equal to `now` where they differ, so that selections, hovers and bars that glide survive a second's news.
 * For elements without listeners. @param {Node} old @param {Node} now
 */
export function renew(old, now) {
  if (old.isEqualNode(now)) return;
  const [before, after] = [[...old.childNodes], [...now.childNodes]];
  if (!(old instanceof Element && now instanceof Element) || old.nodeName !== now.nodeName || before.length !== after.length) {
    /** @type {ChildNode} */ (old).replaceWith(now);
    return;
  }
  if (!old.classList.contains("table-box")) rename(old, now);  // scrollBox of table.js minds its own attributes
  before.forEach((child, index) => renew(child, after[index]));
}

/** @param {Element} old @param {Element} now */
function rename(old, now) {
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** The same for the children of `parent`. @param {Element} parent @param {...Node} children */
export function fresh(parent, ...children) {
  const old = [...parent.childNodes];
  if (old.length !== children.length) parent.replaceChildren(...children);
  else old.forEach((child, index) => renew(child, children[index]));
}

/** Sets text only where it differs: selections and screen readers are left alone. @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Waits until typing stops.
 * @template {any[]} A @param {(...args: A) => void} call @param {number} pause milliseconds @returns {(...args: A) => void}
 */
export function settled(call, pause) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => call(...args), pause);
  };
}
