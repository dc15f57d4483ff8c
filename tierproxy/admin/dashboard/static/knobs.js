/** Sliders for the numbers of a rule file: the budget, ages, idle times, reads. Moving one changes the text. */
import { fill, h } from "./dom.js";
import { bytes } from "./format.js";
import { budgetOf, budgetSteps, thresholds, withBudget, withValueAt } from "./numbers.js";

const MOST = 8;

export class Knobs {
  /** @param {HTMLElement} root @param {import("./draft.js").Draft} draft @param {() => number} budget of the configuration, bytes */
  constructor(root, draft, budget) {
    this.root = root;
    this.draft = draft;
    this.budget = budget;
    this.shape = "";
    this.writing = false;
  }

  /** Draws them anew unless a slider has just written the text. */
  show() {
    if (this.writing) return;
    const found = thresholds(this.draft.text).slice(0, MOST);
    const size = budgetOf(this.draft.text) ?? this.budget();
    const shape = JSON.stringify([found.map((one) => [one.name, one.rule, one.value, one.about]), size]);
    if (shape === this.shape) return;
    this.shape = shape;
    fill(this.root, size > 0 && this.#budget(size), found.map((one, index) => this.#threshold(one, index)));
  }

  /** @param {string} text */
  #write(text) {
    this.writing = true;
    this.draft.set(text);
    this.writing = false;
  }

  /** @param {number} size */
  #budget(size) {
    const steps = budgetSteps(size);
    return slider("Disk budget", "", steps.map((one) => bytes(one)), steps.indexOf(size), (index) => this.#write(withBudget(this.draft.text, steps[index])));
  }

  /** @param {import("./numbers.js").Threshold} one @param {number} index */
  #threshold(one, index) {
    return slider(`${one.about} `, one.rule, one.steps, one.steps.indexOf(one.value), (step) => {
      const now = thresholds(this.draft.text)[index];  // where it stands may have moved
      if (now && now.name === one.name) this.#write(withValueAt(this.draft.text, now, one.steps[step]));
    });
  }
}

/** @param {string} name @param {string} beside @param {string[]} steps @param {number} at @param {(index: number) => void} onMove */
function slider(name, beside, steps, at, onMove) {
  const value = h("span.knob-value", { "aria-hidden": "true" }, steps[at]);  // an output would take the label's place
  const input = h("input.slider", { type: "range", min: 0, max: steps.length - 1, step: 1, value: at, "aria-valuetext": steps[at], oninput: () => {
    const now = steps[Number(input.value)];
    value.textContent = now;
    input.setAttribute("aria-valuetext", now);
    onMove(Number(input.value));
  } });
  return h("label.knob", {}, h("span.knob-name", {}, h("span", {}, name, value), beside && h("span.beside", {}, beside)), input);
}
