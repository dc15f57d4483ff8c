/** A plain text field with line numbers, and marks beside the lines that have faults. Tab leaves it, as everywhere. */
import { fill, h, icon } from "./dom.js";

const MOST_LINES = 5000;

export class Editor {
  /** @param {{label: string, onInput: (text: string) => void}} options */
  constructor({ label, onInput }) {
    this.gutter = h("div.editor-gutter", { "aria-hidden": "true" });
    this.field = /** @type {HTMLTextAreaElement} */ (h("textarea.editor-text", { "aria-label": label, "aria-describedby": "editor-faults", wrap: "off", spellcheck: "false", autocapitalize: "off",
      autocomplete: "off", rows: 24, oninput: () => { this.#number(); onInput(this.field.value); }, onscroll: () => { this.gutter.scrollTop = this.field.scrollTop; } }));
    this.root = h("div.editor", {}, this.gutter, this.field);
    this.lines = 0;
    this.#number();
  }

  /** Leaves the caret where it is when the text is what is shown. @param {string} text */
  show(text) {
    if (this.field.value === text) return;
    const { selectionStart, scrollTop } = this.field;
    this.field.value = text;
    this.field.setSelectionRange(selectionStart, selectionStart);
    this.field.scrollTop = scrollTop;
    this.#number();
  }

  #number() {
    const lines = Math.min(this.field.value.split("\n").length, MOST_LINES);
    if (lines === this.lines) return;
    this.lines = lines;
    fill(this.gutter, Array.from({ length: lines }, (_, index) => h("span", {}, index + 1)));
    this.mark(this.marked ?? []);
  }

  /** @param {{level: string, line: number, text: string}[]} faults */
  mark(faults) {
    this.marked = faults;
    const worst = new Map();
    for (const fault of faults) if (fault.line && worst.get(fault.line)?.level !== "error") worst.set(fault.line, fault);
    [...this.gutter.children].forEach((cell, index) => {
      const fault = worst.get(index + 1);
      /** @type {any} */ (cell).dataset.level = fault?.level ?? "";
      if (fault) cell.setAttribute("title", fault.text); else cell.removeAttribute("title");
    });
    const wrong = faults.some((fault) => fault.level === "error");
    if (wrong) this.field.setAttribute("aria-invalid", "true"); else this.field.removeAttribute("aria-invalid");
  }

  /** Selects a line and brings it into view. @param {number} line from 1 */
  go(line) {
    const lines = this.field.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    this.field.focus();
    this.field.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    const height = this.field.scrollHeight / Math.max(1, lines.length);
    this.field.scrollTop = Math.max(0, (line - 1) * height - this.field.clientHeight / 3);
    this.field.scrollLeft = 0;
  }
}

/** Faults with their lines; a click goes there. @param {any[]} faults @param {(line: number) => void} go */
export function faultList(faults, go) {
  return h("ul.faults", {}, faults.map((fault) => h("li", { dataset: { level: fault.level } }, icon("warning"), h("div", {},
    h("span.unseen", {}, `${fault.level}: `),
    fault.line ? h("button.fault-line", { type: "button", onclick: () => go(fault.line) }, `Line ${fault.line}`) : h("strong", {}, fault.rule || "Whole file"),
    h("p", {}, fault.text), fault.fix && h("p.fault-fix", {}, fault.fix)))));
}
