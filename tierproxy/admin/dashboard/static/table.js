/** Tables: plain ones, and ones that can be sorted and paged. */
import { fill, h, icon } from "./dom.js";
import { count } from "./format.js";

/**
 * A table with a caption for screen readers.
 * @param {string} caption
 * @param {{title: string, numeric?: boolean, unseen?: boolean}[]} columns
 * @param {any[][]} rows cells: text or nodes; the first of a row is its header
 */
export function table(caption, columns, rows) {
  const kind = (/** @type {number} */ index) => (columns[index]?.numeric ? ".n" : "");
  return h("table.table", {}, h("caption.unseen", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((column, index) => h(`th${kind(index)}`, { scope: "col" }, column.unseen ? h("span.unseen", {}, column.title) : column.title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, index) =>
      h(`${index ? "td" : "th"}${kind(index)}`, { scope: index ? null : "row" }, cell))))));
}

/**
 * A box that scrolls sideways where its table is too wide, and then can be scrolled with the keyboard.
 * @param {string} name what it is, for screen readers @param {Node} content
 */
export function scrollBox(name, content) {
  const box = h("div.table-box", {}, content);
  new ResizeObserver(() => {
    const wide = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    for (const [key, value] of Object.entries({ tabindex: "0", role: "region", "aria-label": name })) {
      if (wide) box.setAttribute(key, value); else box.removeAttribute(key);
    }
  }).observe(box);
  return box;
}

/**
 * @template R
 * @typedef {{key: string, title: string, value: (row: R) => any, cell?: (row: R) => any, numeric?: boolean, whole?: boolean,
 *   mono?: boolean, sortable?: boolean, hint?: string}} Column
 *   `value`: what is sorted by; `cell`: what is shown (else the value). `whole`: takes the full width on a phone.
 */

/** Rows of one kind, sorted by a click on a column's head, in pages. */
/** @template R */
export class SortedTable {
  /**
   * @param {Element} root
   * @param {{caption: string, columns: Column<R>[], sort: string, descending?: boolean, page?: number, noun?: string}} options
   */
  constructor(root, { caption, columns, sort, descending = true, page = 20, noun = "row" }) {
    Object.assign(this, { root, caption, columns, sort, descending, page, noun });
    /** @type {R[]} */
    this.rows = [];
    this.first = 0;
    this.note = "";
    this.head = h("thead");
    this.body = h("tbody");
    this.foot = h("div.table-foot");
    fill(root, scrollBox(caption, h("table.table.stack", {}, h("caption.unseen", {}, caption), this.head, this.body)), this.foot);
  }

  /** Shows these rows; the page stays where it can. @param {R[]} rows @param {string} [note] beside the count */
  show(rows, note = "") {
    this.rows = rows;
    this.note = note;
    if (this.first >= rows.length) this.first = 0;
    this.#draw();
  }

  /** Whoever has the focus on a button keeps it, though the button is a new one. */
  #draw() {
    const held = this.root.contains(document.activeElement) && document.activeElement?.getAttribute("data-hold");
    this.#drawAll();
    if (held) this.root.querySelector(`[data-hold="${CSS.escape(held)}"]:not(:disabled)`)?.focus({ preventScroll: true });
  }

  #drawAll() {
    const column = this.columns.find((/** @type {Column<R>} */ one) => one.key === this.sort);
    const rows = [...this.rows].sort((a, b) => compare(column.value(a), column.value(b)) * (this.descending ? -1 : 1));
    fill(this.head, h("tr", {}, this.columns.map((/** @type {Column<R>} */ one) => this.#headCell(one))));
    fill(this.body, rows.slice(this.first, this.first + this.page).map((row) => this.#row(row)));
    this.#drawFoot(rows.length);
  }

  /** @param {Column<R>} column */
  #headCell(column) {
    const kind = column.numeric ? ".n" : "";
    if (column.sortable === false) return h(`th${kind}`, { scope: "col" }, h("span.unseen", {}, column.title));
    const active = column.key === this.sort;
    const order = active ? (this.descending ? "descending" : "ascending") : "none";
    return h(`th${kind}`, { scope: "col", "aria-sort": order },
      h("button.sort", { type: "button", title: column.hint, "data-hold": column.key, onclick: () => this.#sortBy(column) },
        column.title, active && icon(this.descending ? "down" : "up")));
  }

  /** @param {R} row */
  #row(row) {
    return h("tr", {}, this.columns.map((/** @type {Column<R>} */ column, /** @type {number} */ index) => {
      const classes = [column.numeric && "n", column.mono && "key", column.whole && "whole"].filter(Boolean).map((one) => `.${one}`).join("");
      const content = column.cell ? column.cell(row) : column.value(row);
      return index ? h(`td${classes}`, { "data-name": column.title }, content) : h(`th${classes}`, { scope: "row" }, content);
    }));
  }

  /** @param {Column<R>} column */
  #sortBy(column) {
    this.descending = column.key === this.sort ? !this.descending : Boolean(column.numeric);
    this.sort = column.key;
    this.first = 0;
    this.#draw();
  }

  /** @param {number} total */
  #drawFoot(total) {
    const last = Math.min(this.first + this.page, total);
    const text = total > this.page ? `${count(this.first + 1)}–${count(last)} of ${count(total)}` : count(total, this.noun);
    const turn = (/** @type {number} */ by) => { this.first = Math.max(0, this.first + by * this.page); this.#draw(); };
    const button = (/** @type {string} */ name, /** @type {string} */ label, /** @type {number} */ by, /** @type {boolean} */ off) =>
      h("button.button.small", { type: "button", disabled: off, "data-hold": label, "aria-label": label, onclick: () => turn(by) }, icon(name));
    fill(this.foot, h("span", { role: "status" }, text, this.note && ` · ${this.note}`),
      total > this.page && h("span.buttons", {}, button("left", "Previous page", -1, this.first === 0), button("right", "Next page", 1, last >= total)));
  }
}

/** @param {any} a @param {any} b */
function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return a < b ? -1 : 1;
}
