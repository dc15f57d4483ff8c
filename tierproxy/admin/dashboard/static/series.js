/** Hit ratio, traffic and latency over time. The last minutes grow while one looks. */
import { get } from "./api.js";
import { Chart, expectChart, legend } from "./chart.js";
import { h, part } from "./dom.js";
import { count, latency, moment, share } from "./format.js";
import { inOrder } from "./outcomes.js";
import { Panel } from "./panel.js";

const RANGES = [
  { name: "1 h", words: "the last hour", span: "minute", step: 60, length: 3600 },
  { name: "6 h", words: "the last six hours", span: "minute", step: 60, length: 6 * 3600 },
  { name: "7 d", words: "the last seven days", span: "hour", step: 3600, length: 7 * 86400 },
  { name: "90 d", words: "the last 90 days", span: "day", step: 86400, length: 90 * 86400 },
];
const REFRESH = 20000;
const TIME_AXIS = { type: "date", tickangle: 0, nticks: 4 };
const POWERS = [1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1, 10, 100];
const FLOORS = [0.9, 0.75, 0.5];

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "body"));
  let range = RANGES[0];
  /** @type {ReturnType<typeof charts>|null} */
  let drawn = null;
  const ask = () => get("/series", { span: range.span, since: Math.floor(page.now() - range.length) });
  const show = (/** @type {any} */ series) => {
    if (!series.points.length) {
      drawn = null;
      return panel.empty(`No traffic within ${range.words}.`, "Charts begin with the first read or write. A longer time may have some.");
    }
    if (!drawn || panel.state !== "ready") { drawn = charts(); panel.ready(drawn.root); }
    return drawn.show(filled(series, range.step), range.words);
  };
  const load = () => panel.load(ask, show);
  expectChart();
  part(root, "tools").append(choice("Time", RANGES.map((one) => one.name), range.name, (name) => {
    range = RANGES.find((one) => one.name === name) ?? RANGES[0];
    panel.forget();
    load();
  }));
  load();
  setInterval(() => { if (!document.hidden && panel.state !== "error") load(); }, REFRESH);
}

/**
 * Buttons of which one is pressed.
 * @param {string} label @param {string[]} names @param {string} chosen @param {(name: string) => void} onChoice
 */
export function choice(label, names, chosen, onChoice) {
  const buttons = names.map((name) => h("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => {
    for (const one of buttons) one.setAttribute("aria-pressed", String(one.textContent === name));
    onChoice(name);
  } }, name));
  return h("div.choice", { role: "group", "aria-label": label }, buttons);
}

/** Spans without traffic are left out of a series; a line must break there, and a bar be missing. @param {any} series @param {number} step */
export function filled(series, step) {
  const first = Math.floor(series.since / step) * step;
  const known = new Map(series.points.map((/** @type {any} */ point) => [Math.floor(point.at / step) * step, point]));
  const points = [];
  for (let at = first; at < series.until; at += step) points.push({ at, point: known.get(at) ?? null });
  return points;
}

function charts() {
  const places = { ratio: h("div"), gets: h("div"), latency: h("div"), keys: h("div") };
  const column = (/** @type {string} */ title, /** @type {HTMLElement} */ place) => h("figure.plot", {}, h("figcaption", {}, title), place);
  const root = h("div", {}, places.keys, h("div.plots", {}, column("Hit ratio", places.ratio), column("Gets by where the bytes came from", places.gets),
    column("Time to the first byte, half within", places.latency)));
  const [ratio, gets, times] = [new Chart(places.ratio), new Chart(places.gets), new Chart(places.latency)];
  return {
    root,
    /** @param {{at: number, point: any}[]} points @param {string} words */
    show(points, words) {
      const kinds = inOrder(points.flatMap(({ point }) => (point ? Object.keys(point.gets) : [])));
      places.keys.replaceChildren(h("p.panel-note.right", {}, "times in UTC"), legend([...kinds.map((kind) => ({ name: kind.name, token: kind.token, title: kind.about }))]));
      ratio.show(ratioChart(points, words));
      gets.show(getsChart(points, kinds, words));
      times.show(latencyChart(points, kinds, words));
    },
  };
}

/** @param {number} at */
const time = (at) => new Date(at * 1000).toISOString();

/** @param {any} point */
function allRatio(point) {
  const all = point ? Object.values(point.gets).reduce((sum, one) => sum + one, 0) - (point.gets.stub ?? 0) : 0;
  return all ? ((point.gets.memory ?? 0) + (point.gets.disk ?? 0)) / all : null;
}

/** @param {any} point */
const peopleRatio = (point) => (point && point.reads ? point.person_hits / point.reads : null);

/** @param {{at: number, point: any}[]} points @param {string} words */
function ratioChart(points, words) {
  const x = points.map(({ at }) => time(at));
  const known = points.flatMap(({ point }) => [allRatio(point), peopleRatio(point)]).filter((one) => one !== null);
  const least = Math.min(...known.map(Number));
  const floor = FLOORS.find((one) => least > one + 0.01) ?? 0;
  const line = (/** @type {string} */ name, /** @type {string} */ color, /** @type {string} */ dash, /** @type {any[]} */ y) =>
    ({ type: "scatter", mode: points.length < 2 ? "markers" : "lines+markers", marker: { size: 3, color }, name, x, y, line: { color, width: 2, dash }, hovertemplate: "%{y:.1%}" });
  return {
    label: `Share of reads served from this machine over ${words}.`,
    traces: [line("everything", "mark-other", "dot", points.map(({ point }) => allRatio(point))), line("people", "mark-disk", "solid", points.map(({ point }) => peopleRatio(point)))],
    layout: { xaxis: TIME_AXIS, yaxis: { range: [floor, 1.01], tickformat: ".0%", nticks: 5 }, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { t: 28 } },
    behind: () => ({ name: "Hit ratio over time", columns: [{ title: "UTC" }, { title: "People", numeric: true }, { title: "Everything", numeric: true }],
      rows: points.filter(({ point }) => point).map(({ at, point }) => [moment(at), share(peopleRatio(point)), share(allRatio(point))]) }),
  };
}

/** @param {{at: number, point: any}[]} points @param {ReturnType<typeof inOrder>} kinds @param {string} words */
function getsChart(points, kinds, words) {
  const x = points.map(({ at }) => time(at));
  return {
    label: `Gets by where the bytes came from, over ${words}.`,
    traces: kinds.map((kind) => ({ type: "bar", name: kind.name, x, y: points.map(({ point }) => point?.gets[kind.key] ?? null), marker: { color: kind.token, line: { width: 0 } }, hovertemplate: "%{y:,}" })),
    layout: { xaxis: TIME_AXIS, barmode: "stack", bargap: 0.15, margin: { t: 28 } },
    behind: () => ({ name: "Gets over time", columns: [{ title: "UTC" }, ...kinds.map((kind) => ({ title: kind.name, numeric: true }))],
      rows: points.filter(({ point }) => point).map(({ at, point }) => [moment(at), ...kinds.map((kind) => count(point.gets[kind.key] ?? 0))]) }),
  };
}

/** @param {{at: number, point: any}[]} points @param {ReturnType<typeof inOrder>} kinds @param {string} words */
function latencyChart(points, kinds, words) {
  const x = points.map(({ at }) => time(at));
  const seconds = (/** @type {any} */ point, /** @type {string} */ key) => point?.latency[key]?.[1] || null;
  return {
    label: `Median time to the first byte by where it came from, over ${words}. The scale is logarithmic.`,
    traces: kinds.map((kind) => ({ type: "scatter", mode: "lines+markers", name: kind.name, x, y: points.map(({ point }) => seconds(point, kind.key)),
      marker: { size: 3, color: kind.token }, line: { color: kind.token, width: 2, shape: "hv" }, customdata: points.map(({ point }) => latency(seconds(point, kind.key))), hovertemplate: "%{customdata}" })),
    layout: { xaxis: TIME_AXIS, yaxis: { type: "log", tickvals: POWERS, ticktext: POWERS.map(latency) }, margin: { t: 28, l: 60 } },
    behind: () => ({ name: "Time to the first byte over time", columns: [{ title: "UTC" }, ...kinds.flatMap((kind) => [{ title: `${kind.name}, half`, numeric: true }, { title: "99%", numeric: true }])],
      rows: points.filter(({ point }) => point).map(({ at, point }) => [moment(at), ...kinds.flatMap((kind) => [latency(point.latency[kind.key]?.[1]), latency(point.latency[kind.key]?.[2])])]) }),
  };
}
