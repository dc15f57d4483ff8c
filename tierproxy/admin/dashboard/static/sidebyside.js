/** Candidates of a simulation beside one another: a table of what matters, and the disk over time. */
import { Chart, legend } from "./chart.js";
import { h } from "./dom.js";
import { bytes, count, dollars, exactly, latency, moment, share } from "./format.js";
import { remarks } from "./remarks.js";
import { scrollBox } from "./table.js";

export const DRAFT = "your text";
const NAMES = { live: "in force", shadow: "shadow", lru: "no rules (LRU)", belady: "ceiling", baseline: "default age rule" };
const TOKENS = ["mark-disk", "mark-fill", "mark-pass", "mark-other", "mark-memory", "mark-join"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "solid"];

/** @param {string} name */
export const named = (name) => NAMES[/** @type {"live"} */ (name)] ?? name;

/** @param {any} result a Simulation @returns {{sentence: string, nodes: Node[]}} */
export function view(result) {
  const outcomes = [...result.outcomes].sort((a, b) => place(a) - place(b));
  const text = sentence(outcomes);
  const chart = h("div");
  const drawn = outcomes.filter((one) => one.disk.length > 1);
  const nodes = [
    h("p.panel-lead", {}, text),
    remarks("", result.warnings.filter((/** @type {string} */ text) => !text.startsWith("belady"))),
    scrollBox("Side by side", table(outcomes)),
    drawn.length > 0 && h("figure.plot.after", {}, h("figcaption", {}, "Disk over time, most of each day"), legend(drawn.map((one, index) => ({ name: named(one.name), token: TOKENS[index % TOKENS.length] }))), chart),
    h("p.panel-note.after", {}, `${count(result.events, "event")} of ${count(result.objects, "mail")}, ${moment(result.since).slice(0, 10)} to ${moment(result.until).slice(0, 10)}, ` +
      `${count(result.events_per_second)} events a second. Reads are people's.`),
  ];
  if (drawn.length) new Chart(chart).show(drawing(drawn));
  return { sentence: text, nodes: /** @type {Node[]} */ (nodes.filter(Boolean)) };
}

/** @param {any} one */
const place = (one) => (one.name === DRAFT ? 0 : one.name === "live" ? 1 : one.name === "shadow" ? 2 : one.ceiling ? 9 : 5);

/** @param {any[]} outcomes */
export function sentence(outcomes) {
  const [draft, live] = [outcomes.find((one) => one.name === DRAFT), outcomes.find((one) => one.name === "live")];
  const first = draft ?? outcomes[0];
  if (!first || first.hit_ratio === null) return "Nobody read anything in that time.";
  const begin = `${draft ? "Your text" : `“${named(first.name)}”`} would have served ${share(first.hit_ratio)} of reads from this machine`;
  if (!draft || !live) return `${begin}.`;
  const less = live.misses - draft.misses;
  const reads = less ? `${count(Math.abs(less))} ${Math.abs(less) === 1 ? "miss" : "misses"} ${less > 0 ? "less" : "more"} than the rules in force` : "as much as the rules in force";
  const disk = live.disk_peak - draft.disk_peak;
  const size = disk ? `${bytes(Math.abs(disk))} ${disk > 0 ? "less" : "more"} disk at its peak` : "as much disk at its peak";
  const money = draft.dollars !== null && live.dollars !== null && Math.abs(draft.dollars - live.dollars) >= 0.005 ? `, ${dollars(Math.abs(draft.dollars - live.dollars))} a month ${draft.dollars < live.dollars ? "less" : "more"}` : "";
  return `${begin}: ${reads}, ${size}${money}.`;
}

/** One row a measure, one column a candidate. @param {any[]} outcomes */
function table(outcomes) {
  const live = outcomes.find((one) => one.name === "live");
  const rows = MEASURES.map(({ name, hint, cell, better }) => h("tr", {}, h("th", { scope: "row", title: hint || null }, name), outcomes.map((one) => h("td.n", {}, cell(one), better && live && one !== live && against(better(one), better(live))))));
  return h("table.table.beside-table", {}, h("caption.unseen", {}, "Candidates beside one another"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.unseen", {}, "Measure")), outcomes.map((one) => h("th.n", { scope: "col" }, named(one.name))))), h("tbody", {}, rows));
}

/** Better or worse than the rules in force, in words as well. @param {{value: number|null, text: (by: number) => string, sign: 1|-1}} one @param {{value: number|null}} live */
function against(one, live) {
  if (one.value === null || live.value === null || one.value === live.value) return null;
  const by = one.value - live.value;
  const good = by * one.sign > 0;
  const text = one.text(Math.abs(by));
  return text && h("span.beside", { dataset: { tone: good ? "good" : "bad" } }, `${by > 0 ? "+" : "−"}${text}`, h("span.unseen", {}, good ? ", better than in force" : ", worse than in force"));
}

/** @type {{name: string, hint?: string, cell: (one: any) => any, better?: (one: any) => {value: number|null, text: (by: number) => string, sign: 1|-1}}[]} */
const MEASURES = [
  { name: "Hit ratio", hint: "of reads by people", cell: (one) => h("strong", {}, share(one.hit_ratio)), better: (one) => ({ value: one.hit_ratio, text: (by) => (by < 0.0005 ? "" : `${(100 * by).toFixed(1)} points`), sign: 1 }) },
  { name: "of bytes", cell: (one) => share(one.byte_hit_ratio) },
  { name: "Misses", hint: "reads that went to S3", cell: (one) => count(one.misses), better: (one) => ({ value: one.misses, text: (by) => count(by), sign: -1 }) },
  { name: "Regrets", hint: "mails that people read after they were purged", cell: (one) => (one.by_reason.length || one.purged.objects ? count(one.regrets) : "–") },
  { name: "Purged", cell: (one) => (one.purged.objects ? h("span", { title: exactly(one.purged.bytes) }, count(one.purged.objects), one.purged.bytes > 0 && h("span.beside", {}, bytes(one.purged.bytes))) : "–") },
  { name: "Disk at its peak", cell: (one) => (one.disk_peak ? bytes(one.disk_peak) : "–"), better: (one) => ({ value: one.disk_peak || null, text: bytes, sign: -1 }) },
  { name: "Disk on average", cell: (one) => (one.disk_mean ? bytes(one.disk_mean) : "–") },
  { name: "Gets from S3", cell: (one) => (one.alt ? h("span", {}, count(one.alt.requests.get ?? 0), h("span.beside", {}, bytes(one.alt.received_bytes))) : "–") },
  { name: "Time to the first byte", hint: "mean, and 99% within", cell: (one) => (one.delay_mean === null ? "–" : h("span", {}, latency(one.delay_mean), one.delay_p99 !== null && h("span.beside", {}, `99% within ${latency(one.delay_p99)}`))) },
  { name: "Dollars a month", cell: (one) => h("span", { title: one.bill.map((/** @type {any} */ line) => `${line.what}: ${dollars(line.dollars)}`).join("\n") || null }, dollars(one.dollars)), better: (one) => ({ value: one.dollars === null ? null : Math.round(one.dollars * 100) / 100, text: dollars, sign: -1 }) },
];

/** @param {any[]} outcomes */
function drawing(outcomes) {
  const time = (/** @type {number} */ at) => new Date(at * 1000).toISOString();
  const most = Math.max(...outcomes.flatMap((one) => one.disk.map(([, size]) => size)), 1);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * most);
  return {
    label: `Disk use over time: ${outcomes.map((one) => `${named(one.name)} at most ${bytes(one.disk_peak)}`).join(", ")}.`,
    traces: outcomes.map((one, index) => ({ type: "scatter", mode: "lines", name: named(one.name), x: one.disk.map(([at]) => time(at)), y: one.disk.map(([, size]) => size),
      customdata: one.disk.map(([, size]) => bytes(size)), hovertemplate: "%{customdata}", line: { color: TOKENS[index % TOKENS.length], width: 2, dash: DASHES[index % DASHES.length], shape: "hv" } })),
    layout: { xaxis: { type: "date", tickangle: 0, nticks: 6 }, yaxis: { tickvals: ticks, ticktext: ticks.map(bytes) }, margin: { l: 64 } },
    behind: () => ({ name: "Disk over time", columns: [{ title: "Day" }, ...outcomes.map((one) => ({ title: named(one.name), numeric: true }))], rows: days(outcomes) }),
  };
}

/** @param {any[]} outcomes */
function days(outcomes) {
  const all = [...new Set(outcomes.flatMap((one) => one.disk.map((/** @type {number[]} */ [at]) => at)))].sort((a, b) => a - b);
  const sizes = outcomes.map((one) => new Map(one.disk));
  return all.map((at) => [moment(at).slice(0, 10), ...sizes.map((one) => bytes(one.get(at)))]);
}
