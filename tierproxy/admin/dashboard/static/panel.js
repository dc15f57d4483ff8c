/**
 * The states of a panel: loading, empty, error, ready. A panel that fails says so in its own place and goes on trying;
 * the others do not notice.
 */
import { ApiError } from "./api.js";
import { fill, h, icon, renew } from "./dom.js";

/**
 * @typedef {{role: "read"|"operate", status: import("./live.js").Stream<any>, now: () => number,
 *   tell: (text: string) => void, tone: (section: string, tone: string) => void}} Page
 *   What every panel's `mount(root, page)` is given. `now`: the node's clock, seconds. `tell`: says it to screen readers.
 *   `tone`: marks the section in the navigation ("good", "warn", "bad").
 */

const RETRY = 10000;
export const PATIENCE = 600;

export class Panel {
  /** @param {Element} root an element with class `panel-body` @param {boolean} counts its answers take a look at every object */
  constructor(root, counts = false) {
    this.root = root;
    this.counts = counts;
    this.state = "new";
    this.timer = 0;
    this.turn = 0;
  }

  /** A quiet shimmer, but only where nothing is shown yet: old numbers are better than none. */
  loading() {
    if (["ready", "old", "counting"].includes(this.state)) return;
    this.#show("loading", h("div.waiting", { role: "status" }, h("span.unseen", {}, "Loading")));
  }

  /** Says what takes so long, where nothing is shown yet: the first look after the very first start of a node. */
  counting() {
    if (this.counts && this.state === "loading") this.#show("counting", h("div.empty", { role: "status" }, h("strong", {}, "Still counting."), h("p", {}, "The node takes its first look at every object; the numbers come by themselves.")));
  }

  /** @param {string} what @param {string} [todo] what to do about it @param {Node|null} [action] */
  empty(what, todo = "", action = null) {
    this.#show("empty", h("div.empty", {}, h("strong", {}, what), todo && h("p", {}, todo), action));
  }

  /** @param {unknown} error @param {() => void} [again] */
  error(error, again) {
    console.info("panel:", error instanceof Error ? error.message : error);
    const button = again && h("button.button.small", { type: "button", onclick: again }, "Try again");
    this.#show("error", problemNotice(error, button));
    const sentence = this.root.closest(".section")?.querySelector(".verdict");
    if (sentence && !sentence.textContent?.trim()) sentence.textContent = "Not known at the moment.";
  }

  /** @param {...any} children */
  ready(...children) {
    this.#show("ready", ...children);
  }

  /** As `ready` with one element, changing only what differs: for what comes every second. @param {Element} content */
  refresh(content) {
    const shown = this.root.firstElementChild;
    if (this.state === "ready" && shown) renew(shown, content); else this.ready(content);
  }

  /** What is shown answers another question than the next one: it is dimmed until the answer comes. */
  forget() {
    if (this.state !== "ready") return;
    this.state = "old";
    this.root.setAttribute("data-state", "old");
  }

  /**
   * Asks, then shows. Of two askings only the later one is shown. A failure is shown with a button and tried again after
   * ten seconds; while older content is there, it stays.
   * @template T @param {() => Promise<T>} ask @param {(value: T) => void} show
   */
  async load(ask, show) {
    const turn = ++this.turn;
    clearTimeout(this.timer);
    this.loading();
    const again = () => this.load(ask, show);
    const slow = window.setTimeout(() => { if (turn === this.turn) this.counting(); }, PATIENCE);
    try {
      const value = await ask();
      if (turn === this.turn) show(value);
    } catch (error) {
      if (turn !== this.turn || (error instanceof DOMException && error.name === "AbortError")) return;
      if (this.state !== "ready") this.error(error, again);
      if (retryable(error)) this.timer = window.setTimeout(again, RETRY);
    } finally {
      clearTimeout(slow);
    }
  }

  /** @param {string} state @param {...any} children */
  #show(state, ...children) {
    this.state = state;
    this.root.setAttribute("data-state", state);
    fill(this.root, ...children);
  }
}

/** @param {unknown} error */
function retryable(error) {
  if (!(error instanceof ApiError)) return false;
  const { status } = error.problem;
  return status === 0 || status === 429 || status >= 500;
}

/**
 * A problem document as a message with what to do.
 * @param {unknown} error @param {Node|null|undefined|""} [action]
 */
export function problemNotice(error, action = null) {
  const problem = error instanceof ApiError ? error.problem : { title: "This panel failed", detail: String(error), hint: "", errors: [] };
  return notice("bad", problem.title, [problem.detail, ...problem.errors, problem.hint].filter((text) => text && text !== problem.title), action);
}

/** @param {"good"|"warn"|"bad"|""} tone @param {string} title @param {(string|Node)[]} lines @param {Node|null|undefined|""} [action] */
export function notice(tone, title, lines = [], action = null) {
  const name = { good: "check", warn: "warning", bad: "warning", "": "note" }[tone];
  return h("div.notice", { dataset: { tone }, role: tone === "bad" ? "alert" : null }, icon(name),
    h("div.notice-text", {}, h("strong", {}, title), ...lines.map((line) => h("p", {}, line)), action));
}

/** Sets a section's sentence and its tone. @param {Element} section @param {string} text @param {"good"|"warn"|"bad"|""} tone */
export function verdict(section, text, tone = "") {
  const sentence = section.querySelector(".verdict");
  if (!sentence) return;
  if (sentence.textContent !== text) sentence.textContent = text;
  sentence.setAttribute("data-tone", tone);
}

/**
 * Asks before something that cannot be taken back. Resolves to true or false; Escape is no.
 * @param {string} title @param {(string|Node)[]} lines @param {string} yes what the button says @param {{danger?: boolean}} [options]
 * @returns {Promise<boolean>}
 */
export function confirm(title, lines, yes, options = {}) {
  return new Promise((resolve) => {
    const finish = (/** @type {boolean} */ answer) => { resolve(answer); dialog.close(); dialog.remove(); };
    const dialog = h("dialog.dialog", { "aria-labelledby": "dialog-title", oncancel: () => finish(false) },
      h("h2", { id: "dialog-title" }, title), ...lines.map((line) => h("p", {}, line)),
      h("div.buttons", {},
        h("button.button", { type: "button", onclick: () => finish(false) }, "Cancel"),
        h(`button.button.${options.danger ? "danger" : "primary"}`, { type: "button", onclick: () => finish(true) }, yes)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * A button that is busy while it works and shows what failed beside it.
 * @param {HTMLButtonElement} button @param {() => Promise<any>} work @param {Element} [place] where a problem is shown
 */
export function works(button, work, place) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      if (place) fill(place);
      await work();
    } catch (error) {
      if (place) fill(place, problemNotice(error)); else console.info("button:", error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
  return button;
}
