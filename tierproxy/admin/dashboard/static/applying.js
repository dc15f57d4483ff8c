/** Putting rules in force: asked first with what would change, and told when somebody else was faster. */
import { ApiError, post } from "./api.js";
import { changed } from "./changes.js";
import { fill, h } from "./dom.js";
import { bytes, count } from "./format.js";
import { difference, effects, inWords, lines, showVersion } from "./difference.js";
import { confirm, notice } from "./panel.js";
import { remarks } from "./remarks.js";

const CHANGES = 6;

/**
 * Asks with the numbers of this moment; null when the answer is no, else the reason that was given.
 * @param {string} title @param {string} text @param {"live"|"shadow"} kind @param {string} yes @param {string} [reason] to begin with
 * @returns {Promise<string|null>}
 */
export async function askToApply(title, text, kind, yes, reason = "") {
  const found = await difference(text, kind);
  const field = /** @type {HTMLInputElement} */ (h("input.input", { maxlength: 1000, value: reason, name: "reason", autocomplete: "off" }));
  const going = found.effects.find((/** @type {any} */ one) => one.what === "purged by a rule");
  const first = kind === "shadow" ? "Shadow rules remove nothing. The node counts what they would have removed, and what would have been missed."
    : `The next run would purge ${count(going?.after.objects ?? 0, "mail")} (${bytes(going?.after.bytes ?? 0)}) from this disk; by the rules in force ${count(going?.before.objects ?? 0)} (${bytes(going?.before.bytes ?? 0)}).`;
  const content = h("div.asked", {}, h("p", {}, first), inWords(found, CHANGES), kind === "live" && effects(found),
    remarks("warn", found.warnings),
    h("label.field", {}, h("span", {}, "Why (kept with the version)"), field));
  const sure = await confirm(title, [content], yes, { danger: kind === "live" });
  return sure ? field.value.trim() : null;
}

/**
 * @param {import("./draft.js").Draft} draft @param {"live"|"shadow"} kind @param {HTMLElement} place @param {import("./panel.js").Page} page
 */
export async function applyDraft(draft, kind, place, page) {
  const text = draft.text;
  const live = kind === "live";
  const reason = await askToApply(live ? "Make this text live?" : "Put this text in the shadow?", text, kind, live ? "Make live" : "Put in shadow");
  if (reason === null) return;
  try {
    const applied = await post("/rules/apply", live ? { text, kind, reason, base: draft.base } : { text, kind, reason });
    said(applied, kind, place, page);
    if (live && draft.text === text) draft.rebase(applied.version);
    changed("rules");
  } catch (error) {
    if (!(error instanceof ApiError) || error.problem.status !== 409) throw error;
    await overtaken(error.problem, draft, place);
  }
}

/** @param {any} applied @param {"live"|"shadow"} kind @param {HTMLElement} place @param {import("./panel.js").Page} page */
export function said(applied, kind, place, page) {
  const what = kind === "live" ? `Version ${applied.version} is in force` : `Version ${applied.version} is in the shadow`;
  const text = applied.live ? `${what}.` : `Version ${applied.version} is written; the node has not taken it up yet.`;
  page.tell(text);
  fill(place, notice(applied.live ? "good" : "warn", text, [applied.file]));
}

/** Somebody else was faster: nothing was changed. Their text, what ours would change of it, and two ways on. @param {any} problem @param {import("./draft.js").Draft} draft @param {HTMLElement} place */
async function overtaken(problem, draft, place) {
  await draft.follow();
  const found = await difference(draft.text).catch(() => null);
  const theirs = h("div");
  const version = draft.live.version;
  const mine = h("button.button.small", { type: "button", onclick: () => { draft.rebase(version); fill(place, notice("", `Your text is now compared with version ${version}. Make it live when it is right.`)); } }, "Keep my text");
  const other = h("button.button.small", { type: "button", onclick: () => { draft.set(draft.live.text ?? "", version); fill(place, notice("", `Version ${version} is in the editor.`)); } }, `Take version ${version}`);
  fill(place, notice("warn", "Somebody else was faster: nothing was changed", [problem.detail, problem.hint].filter(Boolean),
    h("div.conflict", {}, found && h("div", {}, h("h4.small-head", {}, "Your text would change of it"), inWords(found), lines(found)),
      h("details.behind", { ontoggle: () => { if (!theirs.childNodes.length) showVersion(theirs, version); } }, h("summary", {}, `Version ${version}`), theirs),
      h("div.buttons.after", {}, mine, other))));
}
