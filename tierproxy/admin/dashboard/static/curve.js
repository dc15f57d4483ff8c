/** The miss-ratio curve: how many reads a larger or smaller disk would have served, from the recorded history. */
import { post } from "./api.js";
import { Chart } from "./chart.js";
import { h, icon, part } from "./dom.js";
import { bytes, count, exactly, moment, share } from "./format.js";
import { follow, jobProblem, lastJob, progressBar } from "./job.js";
import { Panel, problemNotice } from "./panel.js";

/** @param {HTMLElement} root @param {import("./panel.js").Page} _page */
export function mount(root, _page) {
  const panel = new Panel(part(root, "body"));
  const tools = part(root, "tools");
  const ask = (/** @type {string} */ text) => h("button.button.small", { type: "button", onclick: compute }, icon("play"), text);
  const on = {
    progress: (/** @type {any} */ job) => { tools.replaceChildren(); panel.ready(progressBar(job, "Reading history")); },
    done: (/** @type {any} */ job) => { tools.replaceChildren(ask("Compute again")); show(panel, job.result, ask("Try again")); },
    failed: (/** @type {any} */ job) => { tools.replaceChildren(); panel.ready(jobProblem(job), h("p.after", {}, ask("Compute again"))); },
  };
  async function compute() {
    try { follow(await post("/jobs/curve", {}), on); } catch (error) { panel.ready(problemNotice(error, ask("Try again"))); }
  }
  panel.load(() => lastJob("curve"), (job) => {
    if (job) follow(job, on);
    else panel.empty("Not computed yet.", "From the recorded reads it can be told what share any disk size would have served: it takes seconds, and reads go on meanwhile.", ask("Compute the curve"));
  });
}

/** @param {Panel} panel @param {any} curve @param {Node} again */
function show(panel, curve, again) {
  if (curve.events === 0 || curve.hit_ratio.length === 0) {
    return panel.empty("There is no history to compute from.", "It is recorded while people read mail ([history] in the configuration). Come back after some days.", again);
  }
  const place = h("div");
  panel.ready(h("p.panel-lead", {}, sentence(curve)), h("div.curve", {}, place, wanted(curve)),
    h("p.panel-note", {}, `${count(curve.events, "event")} of history from ${moment(curve.since).slice(0, 16)} to ${moment(curve.until).slice(0, 16)} UTC by least recently used` +
      `${curve.rate < 1 ? `, sampled (${share(curve.rate)} of objects)` : ""}. Everything read in that time takes ${bytes(curve.working_set)}.`));
  const chart = new Chart(place);
  chart.show(drawing(curve));
}

/** @param {any} curve */
function sentence(curve) {
  const found = Object.entries(curve.wanted).filter(([, size]) => size !== null).map(([ratio, size]) => /** @type {[number, number]} */ ([Number(ratio), size]))
    .sort(([a], [b]) => b - a).find(([ratio]) => ratio <= 0.95);
  const now = curve.budget_hit_ratio === null ? "" : `A disk of ${bytes(curve.budget)}, as now, serves ${share(curve.budget_hit_ratio)}.`;
  return `${now} ${found ? `${percent(found[0])} would take ${bytes(found[1])}.` : ""}`.trim();
}

/** @param {number} ratio */
const percent = (ratio) => `${Number((100 * ratio).toPrecision(3))}%`;

/** @param {any} curve */
function wanted(curve) {
  const rows = Object.entries(curve.wanted).sort(([a], [b]) => Number(a) - Number(b)).map(([ratio, size]) => h("div", {}, h("dt", {}, percent(Number(ratio))), h("dd", { title: exactly(size) }, size === null ? "no disk reaches it" : bytes(size))));
  return h("div", {}, h("h4.small-head", {}, "Smallest disk for"), h("dl.wanted", {}, rows));
}

/** @param {any} curve */
function drawing(curve) {
  const line = (/** @type {string} */ name, /** @type {[number, number][]} */ points, /** @type {string} */ color, /** @type {string} */ dash) =>
    ({ type: "scatter", mode: "lines", name, x: points.map(([size]) => size), y: points.map(([, ratio]) => ratio), line: { color, width: 2.5, dash }, customdata: points.map(([size]) => bytes(size)), hovertemplate: "%{y:.1%} at %{customdata}" });
  const reads = detailed(curve);
  const sizes = reads.map(([size]) => size).concat(curve.budget);
  const ticks = powers(Math.min(...sizes), Math.max(...sizes));
  const x = Math.log10(curve.budget);
  return {
    label: `Hit ratio against disk size. ${sentence(curve)}`,
    traces: [line("reads", reads, "mark-disk", "solid"), line("bytes", positive(curve.byte_hit_ratio), "mark-fill", "dash")],
    layout: {
      xaxis: { type: "log", tickvals: ticks, ticktext: ticks.map(bytes), title: { text: "disk size" } },
      yaxis: { range: [0, 1.02], tickformat: ".0%", dtick: 0.25 }, hovermode: "closest", showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { t: 28, b: 48 },
      shapes: [{ type: "line", x0: curve.budget, x1: curve.budget, y0: 0, y1: 1, yref: "paper", line: { color: "ink-2", width: 1.5, dash: "dot" } }],
      annotations: [{ x, y: 0.06, xref: "x", yref: "paper", text: `budget ${bytes(curve.budget)}`, showarrow: false, xanchor: "left", xshift: 6, font: { color: "ink", size: 12 } }],
    },
    behind: () => ({ name: "Hit ratio by disk size", columns: [{ title: "Disk" }, { title: "Reads", numeric: true }],
      rows: reads.map(([size, ratio]) => [bytes(size), share(ratio)]) }),
  };
}

/** Without the disk of no size, which has no place on a logarithmic axis. @param {[number, number][]} points */
const positive = (points) => points.filter(([size]) => size > 0);

/** The curve with the sizes that were asked for in it: the steep part is between its first points. @param {any} curve @returns {[number, number][]} */
function detailed(curve) {
  const known = Object.entries(curve.wanted).filter(([, size]) => size).map(([ratio, size]) => /** @type {[number, number]} */ ([size, Number(ratio)]));
  return positive([...curve.hit_ratio, ...known]).sort(([a], [b]) => a - b);
}

/** Powers of ten between two sizes, and their thirds when there are few. @param {number} least @param {number} most */
function powers(least, most) {
  const found = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) found.push(10 ** power);
  return found.length > 3 ? found : found.flatMap((one) => [one, 3 * one]);
}

