/**
 * Server-sent events that come back by themselves. A hidden page listens to nothing; what was lost is not repeated, the
 * next event carries everything.
 */
import { get, url } from "./api.js";

const FIRST_PAUSE = 1000;
const LAST_PAUSE = 15000;

/**
 * @template T
 * @typedef {{value: T|null, at: number, connected: boolean}} Feed  `at`: milliseconds, when the last event came
 */

/** @template T */
export class Stream {
  /**
   * @param {string} path below /api
   * @param {string} event name of the events
   * @param {{until?: (value: T) => boolean, lost?: () => void}} [options] `until`: the last event; the stream ends with it.
   *   `lost`: called after each connection that failed
   */
  constructor(path, event, options = {}) {
    this.path = path;
    this.event = event;
    this.until = options.until ?? (() => false);
    this.lost = options.lost ?? (() => {});
    /** @type {T|null} */
    this.value = null;
    this.at = 0;
    this.connected = false;
    this.closed = false;
    this.pause = FIRST_PAUSE;
    /** @type {Set<(value: T) => void>} */
    this.listeners = new Set();
    /** @type {Set<(error: unknown) => void>} */
    this.mourners = new Set();
    /** @type {EventSource|null} */
    this.source = null;
    this.visible = () => (document.hidden ? this.#drop() : this.#open());
    document.addEventListener("visibilitychange", this.visible);
    this.#open();
  }

  /**
   * Calls with the value there is, and with each that comes. Returns what ends it.
   * @param {(value: T) => void} listener @param {(error: unknown) => void} [mourner] called while there is no value at all
   */
  subscribe(listener, mourner) {
    this.listeners.add(listener);
    if (mourner) this.mourners.add(mourner);
    if (this.value !== null) listener(this.value);
    return () => this.listeners.delete(listener);
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.visible);
    this.#drop();
  }

  /** Takes a value got otherwise (by a plain request), as if it had come as an event. @param {T} value */
  offer(value) {
    this.value = value;
    this.at = Date.now();
    for (const listener of this.listeners) {
      try { listener(value); } catch (error) { console.error(error); }  // one panel's fault is not the others'
    }
    if (this.until(value)) this.close();
  }

  /** Says that a plain request got none either. @param {unknown} error */
  fail(error) {
    if (this.value === null) for (const mourner of this.mourners) mourner(error);
  }

  #open() {
    if (this.closed || this.source || document.hidden) return;
    const source = new EventSource(url(this.path));
    this.source = source;
    source.addEventListener(this.event, (event) => {
      this.connected = true;
      this.pause = FIRST_PAUSE;
      this.offer(JSON.parse(event.data));
    });
    source.onerror = () => this.#again();
  }

  #drop() {
    this.connected = false;
    this.source?.close();
    this.source = null;
  }

  #again() {
    this.#drop();
    if (this.closed) return;
    get("/session").catch(() => null);  // an ended session leads to the login; EventSource does not tell why it failed
    this.lost();
    setTimeout(() => this.#open(), this.pause);
    this.pause = Math.min(this.pause * 2, LAST_PAUSE);
  }
}
