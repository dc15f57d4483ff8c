/** What do the rules do: what each decides of what is on disk, what it removed, and what was wanted back. */
import { get } from "./api.js";
import { onChanged, watch, watchReads } from "./changes.js";
import { h, part, settled } from "./dom.js";
import { ago, bytes, count, exactly, moment, share, span } from "./format.js";
import { Panel, verdict } from "./panel.js";
import { remarks } from "./remarks.js";
import { choice } from "./series.js";
import { scrollBox } from "./table.js";

const REFRESH = 10000;
const SETTLED = 1500;
const FRESH = 15;  // seconds: a look at every row costs the node something
const SOON = ["an hour", "a day", "a week", "30 days", "later"];
const THEN = { keep: "keeps", purge: "purges", trim: "trims", pin: "pins", policy: "policies only", pressure: "left to pressure" };

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "held"), true);
  let days = 30;
  const load = (fresh = false) => panel.load(() => get("/rules", { days, fresh: fresh || null }), (held) => {
    const { text, tone } = sentence(held);
    verdict(root, text, tone);
    page.tone("rules", tone);
    panel.ready(...view(held, page));
  });
  part(root, "days").append(choice("Removed within", ["7 d", "30 d", "90 d"], "30 d", (name) => { days = Number.parseInt(name, 10); panel.forget(); load(); }));
  watch(page, "rules", (status) => [status.rules_version, status.shadow]);
  watch(page, "runs", (status) => status.open_runs);
  watchReads(page);
  let looked = 0;
  onChanged("misses", settled(() => {  // one of them may be a regret
    if (page.now() - looked < FRESH) return;
    looked = page.now();
    load(true);
  }, SETTLED));
  onChanged("rules", () => load(true));
  onChanged("runs", () => load(true));
  setInterval(() => { if (!document.hidden && panel.state !== "error" && !root.contains(document.activeElement)) load(); }, REFRESH);
  load();
}

/** @param {any[]} records @param {(record: any) => number} value */
const sum = (records, value) => records.reduce((total, record) => total + value(record), 0);

/** @param {any} held @returns {{text: string, tone: "warn"|""}} */
export function sentence(held) {
  if (held.rules.length === 1 && !held.removed.length) return { text: "There are no rules: what was read longest ago goes when space is short.", tone: "" };
  const objects = sum(held.removed, (one) => one.objects);
  const tone = held.warnings.length ? "warn" : "";
  if (!objects) return { text: `Nothing was purged within ${held.days} days.`, tone };
  const regrets = sum(held.removed, (one) => one.regrets);
  const back = regrets ? `people wanted ${count(regrets)} of them back (${share(regrets / objects)})` : "nobody wanted any of them back";
  return { text: `${count(objects, "mail")} (${bytes(sum(held.removed, (one) => one.bytes))}) were purged within ${held.days} days; ${back}.`, tone };
}

/** @param {any} held @param {import("./panel.js").Page} page */
function view(held, page) {
  const records = new Map(held.removed.map((/** @type {any} */ one) => [one.by, one]));
  const rows = held.rules.map((/** @type {any} */ rule) => row(named(rule), THEN[/** @type {"keep"} */ (rule.then)] ?? rule.then, rule, take(records, rule.rule === null ? "pressure" : `rule:${rule.rule}`)));
  for (const [by, record] of records) rows.push(row(by === "operator" ? "By hand" : by.replace(/^rule:/, ""), by === "operator" ? "purges" : "not in force any more", null, record));
  const about = held.version ? `Version ${held.version}` : held.about || "No rule file";
  return [
    held.warnings.length > 0 && h("div.inset", {}, remarks("warn", held.warnings)),
    scrollBox("Rule by rule", h("table.table.stack", {}, h("caption.unseen", {}, "What each rule holds, removed and cost"), head(held.days), h("tbody", {}, rows))),
    h("p.panel-note.inset", {}, `${about}. May not go now: ${stays(held)}. Counted `, h("span", { title: moment(held.computed_at) }, ago(held.computed_at, page.now())), "."),
    words(held),
  ];
}

/** @param {Map<string, any>} records @param {string} by */
function take(records, by) {
  const found = records.get(by) ?? null;
  records.delete(by);
  return found;
}

/** @param {any} rule */
const named = (rule) => (rule.rule === null ? "What no rule decides" : rule.rule);

/** @param {number} days */
function head(days) {
  const titles = ["Rule", "Does", "On disk", "Of it read in 7 d", "Removed", "Wanted back", "How soon"];
  const hints = ["", "", "what it decides of what is on disk now", "", `within ${days} days`, `reads by people that missed what it removed, within ${days} days`, ""];
  return h("thead", {}, h("tr", {}, titles.map((title, index) => h(index > 1 && index < 6 ? "th.n" : "th", { scope: "col", title: hints[index] || null }, title))));
}

/** @param {string} name @param {string} does @param {any} holds @param {any} record */
function row(name, does, holds, record) {
  const amount = (/** @type {any} */ one) => (one && one.objects ? h("span", { title: exactly(one.bytes) }, bytes(one.bytes), h("span.beside", {}, count(one.objects, "mail"))) : "–");
  const regrets = record?.regrets ?? 0;
  const back = !record?.objects ? "–" : h("span", { title: `and ${count(record.machine_regrets)} by machines` }, count(regrets), h("span.beside", {}, share(regrets / record.objects)));
  return h("tr", {}, h("th.whole", { scope: "row" }, h("strong", {}, name)), h("td", { "data-name": "Does" }, h("span.tag", { dataset: { tone: does === "purges" ? "warn" : does === "keeps" || does === "pins" ? "good" : "" } }, does)),
    h("td.n", { "data-name": "On disk" }, amount(holds)), h("td.n", { "data-name": "Of it read in 7 d" }, holds?.objects ? count(holds.reads_7d, "read") : "–"),
    h("td.n", { "data-name": "Removed" }, amount(record)), h("td.n", { "data-name": "Wanted back", dataset: { nothing: back === "–" } }, back), h("td.whole", { "data-name": "How soon", dataset: { nothing: !record?.regrets } }, soon(record)));
}

/** @param {any} record */
function soon(record) {
  if (!record?.regrets) return "–";
  const parts = record.soon.map((/** @type {number} */ number, /** @type {number} */ index) => (number ? `${count(number)} ${index < 4 ? `within ${SOON[index]}` : SOON[index]}` : "")).filter(Boolean);
  return `${parts.join(", ")}; ${span(record.seconds / record.regrets)} on average`;
}

/** @param {any} held */
function stays(held) {
  const found = [["not yet in S3", held.dirty], ["pinned", held.pinned], ["too young", held.young]].filter(([, amount]) => amount.objects)
    .map(([why, amount]) => `${count(amount.objects)} ${why} (${bytes(amount.bytes)})`);
  return found.join(", ") || "nothing";
}

/** @param {any} held */
function words(held) {
  return held.words.length > 0 && h("details.behind.inset", {}, h("summary", {}, "The rules in words"), inWords(held.words));
}

/** Rules one by one; options behind them are indented. @param {string[]} lines */
export function inWords(lines) {
  const rules = lines.filter((line) => !line.startsWith(" "));
  const options = lines.filter((line) => line.startsWith(" "));
  return h("div", {}, h("ul.words", {}, rules.map((line) => h("li", {}, line))),
    options.length > 0 && h("details.behind", {}, h("summary", {}, "Options"), h("ul.words.mono", {}, options.map((line) => h("li", {}, line.trim())))));
}
