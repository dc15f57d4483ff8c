/**
 * What panels tell one another: rules were put in force, a run began or ended. Also heard when somebody else did it: the
 * node's status says so.
 */

/** @typedef {"rules"|"runs"|"jobs"|"reads"|"misses"} What `reads`, `misses`: by people */

const bell = new EventTarget();

/** @param {What} what */
export function changed(what) {
  bell.dispatchEvent(new Event(what));
}

/** Those that the page's status tells. @param {import("./panel.js").Page} page */
export function watchReads(page) {
  const people = (/** @type {any} */ status) => status.speed.people.week ?? { reads: 0, hits: 0 };
  watch(page, "reads", (status) => people(status).reads);
  watch(page, "misses", (status) => people(status).reads - people(status).hits);
}

/** @param {What} what @param {() => void} call */
export function onChanged(what, call) {
  bell.addEventListener(what, call);
}

/**
 * Rings when one of these facts of the status differs from the last status.
 * @param {import("./panel.js").Page} page @param {What} what @param {(status: any) => any} fact
 */
export function watch(page, what, fact) {
  let last = "";
  page.status.subscribe((status) => {
    const now = JSON.stringify(fact(status));
    if (last && now !== last) changed(what);
    last = now;
  });
}
