/**
 * Charts: plotly in our colours, loaded when the first chart comes near the screen, and the table behind each for who
 * cannot see it. See docs/dashboard.md, "Charts".
 */
import { fill, h } from "./dom.js";
import { sketch } from "./sketch.js";
import { table } from "./table.js";
import { colour, onTheme } from "./theming.js";

/** @type {Promise<any>|null} */
let loading = null;

let started = false;

/** Plotly, from this host. @returns {Promise<any>} */
function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("plotly.min.js", import.meta.url).href;
    script.onload = () => { started = true; resolve(/** @type {any} */ (window).Plotly); };
    script.onerror = () => { loading = null; script.remove(); reject(new Error("plotly could not be loaded")); };
    document.head.append(script);
  });
  return loading;
}

/** The end of the last chart under way. */
let turn = Promise.resolve();
const PATIENCE = 300;
const LATEST = 5000;  // milliseconds after the navigation
const LOOK = 100;

/** Every panel says something, or it takes too long: plotly keeps the page busy for a second when it starts, and till then there are sketches. */
async function othersFirst() {
  while (performance.now() < LATEST && document.querySelector("[data-state=loading]")) await new Promise((resolve) => setTimeout(resolve, LOOK));
}

/** One chart at a time, and whatever else the page has to show before each: plotly takes long to start and to draw. */
function nextTurn() {
  turn = turn.then(() => (started ? undefined : othersFirst())).then(() => new Promise((resolve) => {
    if ("requestIdleCallback" in window) requestIdleCallback(() => resolve(), { timeout: PATIENCE }); else setTimeout(resolve);
  }));
  return turn;
}

/** A chart will be wanted as soon as its numbers are here: plotly is fetched meanwhile, but not started. */
export function expectChart() {
  const link = document.createElement("link");
  link.rel = "preload";
  link.as = "script";
  link.href = new URL("plotly.min.js", import.meta.url).href;
  document.head.append(link);
}

/**
 * @typedef {{name: string, columns: {title: string, numeric?: boolean}[], rows: (string|number)[][]}} Behind
 * @typedef {{traces: any[], layout?: any, label: string, behind?: () => Behind}} Drawing
 *   `label`: what the chart shows, in a sentence. Colours in traces and shapes are token names: `mark-disk`.
 */

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };
const COLOUR_KEYS = new Set(["color", "fillcolor", "bordercolor", "bgcolor", "gridcolor", "linecolor", "zerolinecolor"]);

/** One chart in one element, drawn when it comes near the screen and again when the theme changes. */
export class Chart {
  /** @param {HTMLElement} root empty; gets the chart and its table */
  constructor(root) {
    this.plot = h("div.chart", { role: "img" });
    this.list = h("div.table-box", { tabindex: "0", role: "region" });
    this.behind = h("details.behind", { hidden: true, ontoggle: () => this.#fillTable() }, h("summary", {}, "As a table"), this.list);
    fill(root, this.plot, this.behind);
    /** @type {Drawing|null} */
    this.drawing = null;
    this.near = false;
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.near = true;
      this.#draw();
    }, { rootMargin: "400px" });
    observer.observe(this.plot);
    onTheme(() => this.#draw());
  }

  /** @param {Drawing} drawing */
  show(drawing) {
    this.drawing = drawing;
    this.plot.setAttribute("aria-label", drawing.label);
    this.behind.hidden = !drawing.behind;
    this.#fillTable();
    this.#draw();
  }

  async #draw() {
    const drawing = this.drawing;
    if (!drawing || !this.near) return;
    const traces = inked(drawing.traces), scales = inked(merged(layout(), drawing.layout ?? {}));
    if (!started) fill(this.plot, sketch(traces, scales, { width: this.plot.clientWidth, height: this.plot.clientHeight }));
    try {
      await nextTurn();
      const library = await plotly();
      if (drawing !== this.drawing || !this.plot.isConnected) return;
      this.plot.querySelector(".sketch")?.remove();
      await library.react(this.plot, traces, scales, CONFIG);
    } catch (error) {
      console.info("chart:", error);
      fill(this.plot, h("p.panel-note", {}, "The chart cannot be drawn. Its numbers are in the table below."));
      this.behind.open = true;
    }
  }

  #fillTable() {
    const behind = this.drawing?.behind;
    if (!behind || !this.behind.open) return;
    const { name, columns, rows } = behind();
    this.list.setAttribute("aria-label", name);
    fill(this.list, table(name, columns, rows));
  }
}

/** What all charts share. Nothing moves, nothing can be dragged: a page is scrolled through by touch. */
function layout() {
  const axis = { gridcolor: "line", linecolor: "line", zerolinecolor: "line", tickcolor: "line", fixedrange: true, automargin: true,
    tickfont: { size: 12 }, title: { font: { size: 12 }, standoff: 8 } };
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "ink-2" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 44, r: 12, t: 8, b: 32 }, showlegend: false, dragmode: false, hovermode: "x unified",
    hoverlabel: { bgcolor: "panel", bordercolor: "edge", font: { color: "ink", size: 12 } },
    xaxis: axis, yaxis: { ...axis, rangemode: "tozero" },
  };
}

/** @param {any} base @param {any} over @returns {any} */
function merged(base, over) {
  const found = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const deep = value && typeof value === "object" && !Array.isArray(value) && found[key] && typeof found[key] === "object";
    found[key] = deep ? merged(found[key], value) : value;
  }
  return found;
}

/** Token names become the colours of the theme in force. @param {any} value @param {string} [key] @returns {any} */
function inked(value, key = "") {
  if (key === "name" && typeof value === "string") return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;");  // plotly reads tags
  if (Array.isArray(value)) return key === "colorscale" ? value.map(([at, name]) => [at, ink(name)]) : value.map((one) => inked(one));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, inked(one, name)]));
  return typeof value === "string" && (COLOUR_KEYS.has(key) || key === "tickcolor") ? ink(value) : value;
}

/** `mark-disk`, or `mark-disk/0.3`: with opacity. @param {string} name */
function ink(name) {
  if (!/^[a-z][a-z0-9-]*(\/[0-9.]+)?$/.test(name)) return name;
  const [token, opacity] = name.split("/");
  const found = colour(token);
  return opacity ? found.replace("rgb(", "rgba(").replace(")", `, ${opacity})`) : found;
}

/** A legend of our own: in the page's type, in words, wrapped. @param {{name: string, token: string, title?: string}[]} entries */
export function legend(entries) {
  return h("ul.legend", {}, entries.map(({ name, token, title }) =>
    h("li", { title }, h("span.swatch", { style: { background: `var(--${token})` } }), name)));
}
