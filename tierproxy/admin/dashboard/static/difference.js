/** What a text changes: in words, on what is on disk, and line by line. */
import { get, post } from "./api.js";
import { fill, h, settled } from "./dom.js";
import { bytes, count, exactly } from "./format.js";
import { Panel, problemNotice } from "./panel.js";
import { remarks } from "./remarks.js";
import { scrollBox, table } from "./table.js";

const PAUSE = 900;

/** @param {HTMLElement} root @param {import("./draft.js").Draft} draft */
export function mountDifference(root, draft) {
  const panel = new Panel(root);
  const later = settled(() => {
    if (!draft.differs || !draft.usable) return;
    panel.load(() => difference(draft.text), (found) => panel.ready(...view(found)));
  }, PAUSE);
  const show = () => {
    panel.turn += 1;
    if (!draft.live) return panel.loading();
    if (!draft.differs) return panel.empty("This text is what is in force.", "Change it above, and what that changes is said here before anything is put in force.");
    if (draft.check && !draft.usable) return panel.empty("It cannot be compared while it has errors.", "They are listed beside the text.");
    panel.forget();
    panel.loading();
    return later();
  };
  draft.on("text", show);
  draft.on("check", show);
  draft.on("live", show);
  show();
}

/** @param {string} text @param {"live"|"shadow"} [kind] @returns {Promise<any>} */
export const difference = (text, kind = "live") => post("/rules/diff", { text, kind, effects: true });

/** @param {any} found */
function view(found) {
  return [
    h("div.difference", {},
      h("div", {}, h("h4.small-head", {}, "In words"), inWords(found)),
      h("div", {}, h("h4.small-head", {}, "On disk now"), effects(found))),
    remarks("warn", found.warnings),
    lines(found),
  ];
}

/** @param {any} found @param {number} [most] */
export function inWords(found, most = 1000) {
  if (!found.changes.length) return h("p.panel-note", {}, "Only comments or spaces differ.");
  const left = found.changes.length - most;
  return h("ul.words", {}, found.changes.slice(0, most).map((/** @type {string} */ text) => h("li", {}, text)), left > 0 && h("li", {}, `and ${count(left)} more`));
}

/** Before and after, with what moved. @param {any} found */
export function effects(found) {
  if (!found.effects.length) return h("p.panel-note", {}, "Nobody has counted.");
  const amount = (/** @type {any} */ one) => h("span", { title: exactly(one.bytes) }, count(one.objects), h("span.beside", {}, bytes(one.bytes)));
  const moved = (/** @type {any} */ one) => {
    const by = one.after.objects - one.before.objects;
    return by ? `${by > 0 ? "+" : "−"}${count(Math.abs(by))}` : "–";
  };
  return scrollBox("What it means for what is on disk", table("What it means for what is on disk", [{ title: "Mails" }, { title: "Now", numeric: true }, { title: "Then", numeric: true }, { title: "Change", numeric: true }],
    found.effects.map((/** @type {any} */ one) => [one.what[0].toUpperCase() + one.what.slice(1), amount(one.before), amount(one.after), moved(one)])));
}

/** @param {any} found */
export function lines(found) {
  if (!found.unified.length) return null;
  const kind = (/** @type {string} */ line) => (line.startsWith("@@") || line.startsWith("+++") || line.startsWith("---") ? "head" : line.startsWith("+") ? "add" : line.startsWith("-") ? "cut" : "");
  return h("details.behind", {}, h("summary", {}, "Line by line"),
    scrollBox("Line by line", h("pre.unified", {}, found.unified.map((/** @type {string} */ line) => h("span", { dataset: { kind: kind(line) } }, `${line}\n`)))));
}

/** What version `number` says, beside a text: where that text would go back behind it. @param {HTMLElement} place @param {number} number */
export async function showVersion(place, number) {
  try {
    const version = await get(`/rules/versions/${number}`);
    fill(place, h("pre.file", { tabindex: "0", role: "region", "aria-label": `Version ${number}` }, version.text));
  } catch (error) { fill(place, problemNotice(error)); }
}
