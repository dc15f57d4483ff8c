/** What the next purge takes: the dry run, and the purge itself with its progress. */
import { MAY_OPERATE, get, post } from "./api.js";
import { changed, onChanged } from "./changes.js";
import { fill, h, icon, part } from "./dom.js";
import { ago, bytes, count, exactly, moment, share, span } from "./format.js";
import { Panel, confirm, notice, problemNotice, works } from "./panel.js";
import { remarks } from "./remarks.js";
import { followRun, runBar, runSentence, undoButton } from "./run.js";
import { table } from "./table.js";

const SHOWN = 10;

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const place = h("div");
  const now = h("div.acted");
  fill(part(root, "body"), now, place);
  const panel = new Panel(place, true);
  let planned = /** @type {any} */ (null);
  const load = (fresh = false) => panel.load(() => get("/purge/plan", { limit: SHOWN, fresh: fresh || null }), (plan) => {
    planned = plan;
    button.hidden = !plan.total.objects;
    if (plan.total.objects) panel.ready(...view(plan, page));
    else panel.empty("Nothing would go now.", plan.rules.length ? "No rule that purges decides anything on disk." : "No rule purges. Without rules only pressure makes room, when space is short.");
  });
  const button = works(h("button.button.small.danger", { type: "button", hidden: true }, icon("purge"), "Purge now"), () => begin(planned, now, page), now);
  if (MAY_OPERATE) part(root, "tools").append(button);
  onChanged("rules", () => load(true));
  onChanged("runs", () => load(true));
  load();
}

/** Asks with the numbers of this moment, then follows the run to its end. @param {any} shown @param {HTMLElement} place @param {import("./panel.js").Page} page */
async function begin(shown, place, page) {
  const plan = await get("/purge/plan", { limit: 0, fresh: true }).catch(() => shown);
  if (!plan.total.objects) return fill(place, notice("", "There is nothing to purge any more."));
  const lines = [`${count(plan.total.objects, "copy").replace("copys", "copies")} (${bytes(plan.total.bytes)}) go from this disk. All of them are in S3, and the next read of one fetches it again.`,
    ...plan.rules.filter((/** @type {any} */ one) => one.objects).map((/** @type {any} */ one) => h("span", {}, h("strong", {}, one.rule), `: ${count(one.objects)}, ${bytes(one.bytes)}`))];
  if (plan.asks_first) lines.push(notice("warn", "This asks first", [recent(plan)]));
  const yes = plan.asks_first ? "Purge what was read recently too" : `Purge ${count(plan.total.objects)}`;
  if (!(await confirm("Purge now?", lines, yes, { danger: true }))) return undefined;
  const run = await post("/runs", { reason: "from the dashboard", confirmed: plan.asks_first });
  changed("runs");
  return show(run, place, page);
}

/** @param {any} run @param {HTMLElement} place @param {import("./panel.js").Page} page */
function show(run, place, page) {
  followRun(run, (one) => {
    if (one.ended_at === null) return fill(place, runBar(one, place));
    page.tell(runSentence(one));
    fill(place, notice(one.state === "done" ? "good" : "warn", runSentence(one), [one.note].filter(Boolean), h("div.buttons.after", {}, undoButton(one, place))));
    return changed("runs");
  }, (error) => fill(place, problemNotice(error)));
}

/** @param {any} plan */
const recent = (plan) => `${count(plan.total.recent_objects, "mail")} (${bytes(plan.total.recent_bytes)}) of it were read by people in the last ${plan.recent_days} days: ` +
  `${share(plan.total.recent_bytes / plan.recent_bytes)} of all that was read recently, more than [safety] lets go unasked.`;

/** @param {any} plan @param {import("./panel.js").Page} page */
function view(plan, page) {
  const total = plan.total;
  return [
    h("p.panel-lead", {}, `${count(total.objects, "mail")}, `, h("span", { title: exactly(total.bytes) }, bytes(total.bytes)), ". ", total.reads_7d ? `Read ${count(total.reads_7d, "time")} in the last 7 days.` : "Nobody read any of it in the last 7 days."),
    plan.asks_first && notice("warn", "The run will ask first", [recent(plan), MAY_OPERATE ? "It waits below “Purge runs” until somebody confirms it." : "It waits until somebody with the role operate confirms it."]),
    remarks("warn", plan.warnings),
    h("div.table-box.bleed", {}, table("What each rule would remove", [{ title: "Rule" }, { title: "Mails", numeric: true }, { title: "Bytes", numeric: true }, { title: "Reads in 30 d", numeric: true }],
      plan.rules.map((/** @type {any} */ one) => [one.rule, count(one.objects), bytes(one.bytes), count(one.reads_30d)]))),
    h("details.behind", {}, h("summary", {}, `The first ${count(plan.objects.length, "mail")} by name`), h("ul.going", {}, plan.objects.map(going))),
    h("p.panel-note.after", {}, "Counted ", h("span", { title: moment(plan.computed_at) }, ago(plan.computed_at, page.now())), "."),
  ];
}

/** @param {any} one */
function going(one) {
  const facts = [bytes(one.disk_bytes), one.age !== null && `${span(one.age)} old`, one.reads !== null && count(one.reads, "read"), one.rule].filter(Boolean).join(" · ");
  return h("li", {}, h("a.mono", { href: `#explain=${encodeURIComponent(one.object)}` }, one.object), h("span.beside", {}, facts));
}
