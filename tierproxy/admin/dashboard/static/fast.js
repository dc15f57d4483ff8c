/** Is it fast: hit ratios by hour, day and week, and the time to the first byte by tier. Live. */
import { h, part } from "./dom.js";
import { count, latency, rate, share } from "./format.js";
import { inOrder, outcome } from "./outcomes.js";
import { Panel, verdict } from "./panel.js";
import { scrollBox, table } from "./table.js";

const TIMES = [["hour", "Last hour"], ["day", "Last day"], ["week", "Last week"]];

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const hits = new Panel(part(root, "hits"));
  const times = new Panel(part(root, "latency"));
  hits.loading();
  times.loading();
  page.status.subscribe(({ speed }) => {
    verdict(root, sentence(speed));
    hits.refresh(hitTable(speed));
    if (speed.latency.some((/** @type {any} */ one) => one.gets)) times.refresh(latencyTable(speed.latency));
    else times.empty("Nothing was read within the hour.", "Times appear with the first reads.");
  }, (error) => { hits.error(error); times.error(error); });
}

/** @param {any} speed */
export function sentence(speed) {
  const [name, words] = /** @type {[string, string][]} */ ([["hour", "this hour"], ["day", "within a day"], ["week", "within a week"]])
    .find(([key]) => speed.people[key]?.reads) ?? ["", ""];
  if (!name) return "Nobody has read mail within a week.";
  const near = usual(speed.latency, true);
  const far = usual(speed.latency, false);
  const time = near === null ? "" : far === null || far <= near ? `, half of them within ${latency(near)}` : `, in ${latency(near)} instead of ${latency(far)}`;
  return `${share(speed.people[name].ratio)} of what people read ${words} came from this machine${time}.`;
}

/** The median of the outcome most gets had. @param {any[]} tiers @param {boolean} hit @returns {number|null} */
function usual(tiers, hit) {
  const best = tiers.filter((one) => one.gets && one.p50 !== null && outcome(one.outcome).hit === hit).sort((a, b) => b.gets - a.gets)[0];
  return best ? best.p50 : null;
}

/** @param {any} speed */
function hitTable(speed) {
  const unseen = true;
  const rows = TIMES.map(([key, name]) => {
    const people = speed.people[key] ?? { reads: 0, hits: 0, ratio: null };
    const all = speed.hits[key] ?? { gets: 0, hits: 0, ratio: null };
    return [name, ratioCell(people.ratio, `${count(people.hits)} of ${count(people.reads)} reads`), count(people.reads),
      ratioCell(all.ratio, `${count(all.hits)} of ${count(all.gets)} gets`), count(all.gets)];
  });
  const numeric = true;
  const stubs = speed.hits.week?.stubs ? ` ${count(speed.hits.week.stubs)} gets within a week were answered with heads and tails of mails that are not on disk, and are not in this table.` : "";
  return h("div", {}, scrollBox("Hit ratios", table("Share of reads and gets served from memory or disk",
    [{ title: "Time", unseen }, { title: "People", numeric }, { title: "Reads", numeric }, { title: "Everything", numeric }, { title: "Gets", numeric }], rows)),
  h("p.panel-note.inset", {}, `${rate(speed.per_second)} gets a second. A read by a person may take several gets; scans, backups and index runs count under everything.${stubs}`));
}

/** @param {number|null} ratio @param {string} title */
function ratioCell(ratio, title) {
  return h("span.ratio", { title }, h("strong", {}, share(ratio)), h("span.bar", { "aria-hidden": "true" }, h("span.bar-fill", { style: { width: `${100 * (ratio ?? 0)}%` } })));
}

/** @param {any[]} tiers */
function latencyTable(tiers) {
  const numeric = true;
  const unseen = true;
  const rows = inOrder(tiers.filter((one) => one.gets).map((one) => one.outcome)).map((kind) => {
    const one = tiers.find((tier) => tier.outcome === kind.key);
    const name = h("span.named", { title: kind.about }, h("span.swatch", { style: { background: `var(--${kind.token})` } }), kind.name);
    return [name, latency(one.p50), latency(one.p99), count(one.gets)];
  });
  return h("div", {}, scrollBox("Time to the first byte", table("Time to the first byte by where it came from",
    [{ title: "From", unseen }, { title: "half within", numeric }, { title: "99% within", numeric }, { title: "Gets", numeric }], rows)));
}
