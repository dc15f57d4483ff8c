/**
 * The text that is being worked on: kept in this browser until it is put in force or given up, with the version it was
 * made from, and what the node says of it.
 */
import { get, post } from "./api.js";
import { settled } from "./dom.js";

const KEPT = "tierproxy.draft";
const PAUSE = 250;

/** @typedef {"text"|"check"|"live"} Event */

export class Draft {
  constructor() {
    this.text = "";
    /** The rules in force: {version, about, text}. @type {any} */
    this.live = null;
    /** The version this text was made from. @type {number} */
    this.base = 0;
    /** What the node says of `text`, null while it has not said. @type {any} */
    this.check = null;
    /** @type {unknown} */
    this.failed = null;
    /** @type {{event: Event, call: () => void}[]} */
    this.listeners = [];
    this.turn = 0;
    this.later = settled(() => this.#ask(), PAUSE);
  }

  /** @param {Event} event @param {() => void} call */
  on(event, call) {
    this.listeners.push({ event, call });
  }

  /** @param {Event} event */
  #tell(event) {
    for (const one of this.listeners) if (one.event === event) one.call();
  }

  /** What is in force, and the text kept from before when there is one. */
  async begin() {
    await this.#fetchLive();
    const kept = remembered();
    if (kept && kept.text !== this.live.text) this.set(kept.text, kept.base);
    else this.set(this.live.text ?? "", this.live.version);
    this.#tell("live");
  }

  /** Other rules came in force, by us or by somebody else. A text that nobody touched follows them. */
  async follow() {
    const untouched = !this.differs;
    const before = this.live?.text;
    await this.#fetchLive();
    if (untouched && before !== this.live.text) this.set(this.live.text ?? "", this.live.version);
    else if (!this.differs) this.set(this.text, this.live.version);
    this.#tell("live");
  }

  async #fetchLive() {
    this.live = await get("/rules", { counts: false });
  }

  /** Not what is in force. */
  get differs() {
    return this.live !== null && this.text !== (this.live.text ?? "");
  }

  /** Somebody put other rules in force since this text was begun. */
  get overtaken() {
    return this.live !== null && this.differs && this.base !== this.live.version;
  }

  /** It can be put in force: the node has read exactly this text and found no error. */
  get usable() {
    return this.check !== null && this.check.faults.every((/** @type {any} */ fault) => fault.level !== "error") && !this.check.errors.length;
  }

  /** @param {string} text @param {number} [base] */
  set(text, base = this.base) {
    this.base = base;
    this.text = text;
    this.check = null;
    remember(this.differs ? { text, base } : null);
    this.#tell("text");
    this.later();
  }

  /** From here on it is compared with this version: the other one was looked at. @param {number} base */
  rebase(base) {
    this.set(this.text, base);
  }

  async #ask() {
    const turn = ++this.turn;
    const text = this.text;
    try {
      const check = await post("/rules/check", { text });
      if (turn !== this.turn || text !== this.text) return;
      this.check = check;
      this.failed = null;
    } catch (error) {
      if (turn !== this.turn) return;
      this.failed = error;
      setTimeout(() => { if (turn === this.turn) this.#ask(); }, 5000);
    }
    this.#tell("check");
  }
}

/** @returns {{text: string, base: number}|null} */
function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT) ?? "null");
    return found && typeof found.text === "string" && typeof found.base === "number" ? found : null;
  } catch { return null; }
}

/** @param {{text: string, base: number}|null} draft */
function remember(draft) {
  try {
    if (draft) localStorage.setItem(KEPT, JSON.stringify(draft)); else localStorage.removeItem(KEPT);
  } catch { /* a browser that keeps nothing: the page still works, a reload forgets */ }
}
