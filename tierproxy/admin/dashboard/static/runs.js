/** Purge runs: those under way with their progress, those that wait, those that have ended. */
import { get } from "./api.js";
import { changed, onChanged } from "./changes.js";
import { fill, h, part } from "./dom.js";
import { ago, bytes, count, exactly, moment, reason, span } from "./format.js";
import { Panel, problemNotice } from "./panel.js";
import { followRun, runBar, runSentence, undoButton } from "./run.js";

const SHOWN = 8;
const MORE = 50;
const TONES = { done: "good", failed: "bad", cancelled: "warn", waiting: "warn", running: "accent", asked: "accent" };

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const place = h("div");
  const open = h("div.open-runs");
  const acted = h("div.open-runs", { "aria-live": "polite" });
  fill(part(root, "body"), open, acted, place);
  const panel = new Panel(place);
  const followed = new Set();
  let limit = SHOWN;
  const load = () => panel.load(() => get("/runs", { limit }), (runs) => {
    for (const run of runs) if (run.ended_at === null && !followed.has(run.number)) { followed.add(run.number); watchRun(run, open, page); }
    const more = runs.length === limit && limit < MORE ? () => { limit = MORE; load(); } : null;
    if (runs.length) panel.ready(h("ul.runs", {}, runs.map((/** @type {any} */ run) => row(run, page, acted))), more && h("p.inset", {}, h("button.button.small", { type: "button", onclick: more }, `The last ${MORE}`)));
    else panel.empty("No purge has run yet.", "Rules run by their [schedule]; pressure makes room when the budget is short.");
  });
  onChanged("runs", load);
  load();
}

/** @param {any} run @param {HTMLElement} open @param {import("./panel.js").Page} page */
function watchRun(run, open, page) {
  const place = h("div.inset");
  open.append(place);
  let waits = false;
  followRun(run, (now) => {
    if (now.ended_at === null) {
      if (now.state === "waiting" && !waits) page.tell(runSentence(now));
      waits = now.state === "waiting";
      return fill(place, runBar(now, place));
    }
    place.remove();
    return changed("runs");
  }, (error) => fill(place, problemNotice(error)));
}

/** @param {any} run @param {import("./panel.js").Page} page @param {HTMLElement} acted */
function row(run, page, acted) {
  const target = run.bucket ? ` of ${run.bucket}${run.prefix ? `/${run.prefix}` : ""}` : "";
  const what = { rules: "Rules", pressure: "Pressure", operator: "By hand" }[/** @type {"rules"} */ (run.kind)] + (run.rule ? `: ${run.rule}` : "") + target;
  const by = [run.author, run.reason].filter(Boolean).join(": ");
  const took = run.ended_at !== null && run.started_at !== null && run.ended_at - run.started_at >= 1 ? `took ${span(run.ended_at - run.started_at)}` : "";
  const details = h("details.behind", { ontoggle: () => fillDetails(details, run) }, h("summary", {}, "By rule"), h("div"));
  return h("li", {},
    h("div.run-head", {}, h("strong", {}, `${run.number} · ${what}`), h("span.tag", { dataset: { tone: TONES[/** @type {"done"} */ (run.state)] ?? "" } }, run.state),
      h("span.run-amount", { title: exactly(run.bytes) }, amount(run))),
    h("p.beside", {}, h("span", { title: moment(run.at) }, ago(run.at, page.now())), ...[by, took, run.ended_at === null ? "" : run.note, run.skipped ? `${count(run.skipped)} left alone` : ""].filter(Boolean).map((text) => ` · ${text}`)),
    h("div.run-tools", {}, run.objects > 0 && details, run.ended_at !== null && undoButton(run, insideOf(acted))));
}

/** @param {any} run */
function amount(run) {
  if (run.objects) return `${count(run.objects, "mail")}, ${bytes(run.bytes)}`;
  return run.ended_at === null ? "" : "nothing went";
}

/** A place of its own for what one run's button says. @param {HTMLElement} acted */
function insideOf(acted) {
  const place = h("div.inset.quiet-empty");
  acted.append(place);
  return place;
}

/** @param {HTMLDetailsElement} details @param {any} run */
async function fillDetails(details, run) {
  const place = details.lastElementChild;
  if (!details.open || !place || place.childNodes.length) return;
  try {
    const { by_rule: rules } = await get(`/runs/${run.number}`);
    fill(place, h("ul.words", {}, rules.map((/** @type {any} */ one) => h("li", {}, `${reason(one.by)}${one.rule && one.by === "pressure" ? `, though “${one.rule}” keeps it` : ""}: ${count(one.objects, "mail")}, ${bytes(one.bytes)}`))));
  } catch (error) { fill(place, problemNotice(error)); }
}
