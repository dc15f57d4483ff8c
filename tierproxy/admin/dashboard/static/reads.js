/** How many mails were read 0, 1, 2, 3-5, 6+ times, and of what age they are: one answer, shown twice. */
import { get } from "./api.js";
import { h, part } from "./dom.js";
import { ago, bytes, count, exactly, share } from "./format.js";
import { PATIENCE, Panel } from "./panel.js";
import { choice } from "./series.js";
import { scrollBox } from "./table.js";

const REFRESH = 30000;
const STEPS = 9;
const MEASURES = /** @type {const} */ ({
  "Mails": ["objects", count, "mails"], "Bytes": ["bytes", bytes, "bytes"],
  "Mails on disk": ["disk_objects", count, "mails on disk"], "Bytes on disk": ["disk_bytes", bytes, "bytes on disk"],
});
/** @typedef {keyof typeof MEASURES} Measure */

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const histogram = new Panel(part(root, "histogram"), true);
  const map = new Panel(part(root, "heat"), true);
  /** @type {any} */
  let heat = null;
  /** @type {Measure} */
  let measure = "Mails";
  const showMap = () => heat && map.ready(heatTable(heat, measure), computed(heat, page.now()));
  const show = (/** @type {any} */ found) => {
    heat = found;
    if (!total(found, "objects")) {
      histogram.empty("No mail yet.", "Reads are counted from the first object on: store mail through the proxy, or let tierproxy catalogue sync learn what S3 holds.");
      return map.empty("No mail yet.", "What lives here by age and reads appears with the first objects.");
    }
    histogram.ready(...bars(found));
    return showMap();
  };
  part(root, "measure").append(choice("Measure", Object.keys(MEASURES), measure, (name) => { measure = /** @type {Measure} */ (name); showMap(); }));
  map.loading();
  window.setTimeout(() => map.counting(), PATIENCE);
  const load = () => histogram.load(async () => {
    try { return await get("/stats/heat"); } catch (error) { if (map.state !== "ready") map.error(error, load); throw error; }
  }, show);
  load();
  setInterval(() => { if (!document.hidden && histogram.state === "ready") load(); }, REFRESH);
}

/** @param {any} heat @param {string} field */
const total = (heat, field) => heat.cells.flat().reduce((/** @type {number} */ sum, /** @type {any} */ cell) => sum + cell[field], 0);

/** The seed's question, and its answer in a sentence. @param {any} heat */
function bars(heat) {
  const objects = heat.read_classes.map((/** @type {string} */ _name, /** @type {number} */ column) =>
    heat.cells.reduce((/** @type {number} */ sum, /** @type {any[]} */ row) => sum + row[column].objects, 0));
  const all = total(heat, "objects");
  const most = Math.max(...objects);
  const rows = heat.read_classes.map((/** @type {string} */ name, /** @type {number} */ column) => h("tr", {},
    h("th", { scope: "row" }, times(name)),
    h("td.reads-bar", {}, h("span.bar", { "aria-hidden": "true" }, h("span.bar-fill", { style: { width: `${(100 * objects[column]) / most}%` } }))),
    h("td.n", {}, h("strong", {}, share(objects[column] / all))), h("td.n", {}, count(objects[column]))));
  return [h("p.panel-lead", {}, answer(heat.read_classes, objects, all)),
    h("table.reads", {}, h("caption.unseen", {}, "Mails by how often people read them"),
      h("thead.unseen", {}, h("tr", {}, ["Read", "As a bar", "Share", "Mails"].map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, rows)),
    h("p.panel-note.after", {}, "Reads by people; scans, backups and index runs are not counted.")];
}

/** @param {string[]} classes @param {number[]} objects @param {number} all */
function answer(classes, objects, all) {
  const of = (/** @type {string} */ name) => objects[classes.indexOf(name)] ?? 0;
  const more = all - of("0") - of("1");
  return `${share(of("1") / all)} of mails were read once, ${share(of("0") / all)} never, ${share(more / all)} more often.`;
}

/** @param {string} name */
const times = (name) => ({ 0: "never", 1: "once", 2: "twice" }[name] ?? `${name.replace("-", "–")} times`);

/**
 * The heat map is a table: its cells are numbers on a scale of lightness. The scale is by the root of the share, so that
 * small cells are still told from empty ones.
 * @param {any} heat @param {Measure} measure
 */
function heatTable(heat, measure) {
  const [field, text, noun] = MEASURES[measure];
  const all = total(heat, field);
  const most = Math.max(1, ...heat.cells.flat().map((/** @type {any} */ cell) => cell[field]));
  const cell = (/** @type {any} */ one) => {
    const step = one[field] ? Math.max(1, Math.round(STEPS * Math.sqrt(one[field] / most))) : 0;
    return h("td.heat-cell", { dataset: { step }, title: `${share(one[field] / all)} of all ${noun}: ${count(one.objects)} mails, ${exactly(one.bytes)}; on disk ${count(one.disk_objects)} mails, ${exactly(one.disk_bytes)}` },
      one[field] ? text(one[field]) : h("span", { "aria-label": "none" }, "·"));
  };
  return scrollBox("Heat map",
    h("table.heat", {}, h("caption.unseen", {}, `${measure} by age (rows) and reads by people (columns)`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.unseen", {}, "Age")), heat.read_classes.map((/** @type {string} */ name) => h("th", { scope: "col" }, times(name))))),
      h("tbody", {}, heat.ages.map((/** @type {string} */ age, /** @type {number} */ row) => h("tr", {}, h("th", { scope: "row" }, age.replace("-", "–")), heat.cells[row].map(cell))))));
}

/** @param {any} heat @param {number} now */
function computed(heat, now) {
  const scale = h("span.heat-scale", { "aria-hidden": "true" }, "fewer", ...Array.from({ length: STEPS }, (_, index) => h("span", { dataset: { step: index + 1 } })), "more");
  return h("p.panel-note.heat-note", {}, h("span", {}, `Rows: time since a mail was written. Counted ${ago(heat.computed_at, now)}.`), scale);
}
