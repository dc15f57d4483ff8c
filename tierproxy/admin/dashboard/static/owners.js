/** Whose mail it is: a table of owners to search, sort and page through. */
import { get } from "./api.js";
import { h, part, settled } from "./dom.js";
import { ago, bytes, count, exactly, share } from "./format.js";
import { Panel, verdict } from "./panel.js";
import { SortedTable } from "./table.js";

const MOST = 1000;
const REFRESH = 60000;

/** @type {import("./table.js").Column<any>[]} */
const COLUMNS = [
  { key: "label", title: "Owner", value: (row) => row.label, cell: (row) => row.label || h("em", {}, "no owner"), whole: true },
  { key: "objects", title: "Mails", value: (row) => row.objects, cell: (row) => count(row.objects), numeric: true },
  { key: "bytes", title: "Bytes", value: (row) => row.bytes, cell: (row) => h("span", { title: exactly(row.bytes) }, bytes(row.bytes)), numeric: true },
  { key: "disk", title: "On disk", value: (row) => row.disk_bytes, cell: (row) => h("span", { title: `${exactly(row.disk_bytes)}, ${count(row.disk_objects, "mail")}` }, bytes(row.disk_bytes)), numeric: true },
  { key: "reads", title: "Reads", value: (row) => row.reads, cell: (row) => count(row.reads), numeric: true, hint: "by people" },
  { key: "machine", title: "Machine reads", value: (row) => row.machine_reads, cell: (row) => count(row.machine_reads), numeric: true, hint: "scans, backups, index runs" },
  { key: "each", title: "Reads a mail", value: (row) => (row.objects ? row.reads / row.objects : 0), cell: (row) => (row.objects ? (row.reads / row.objects).toFixed(1) : "–"), numeric: true },
  { key: "never", title: "Read how often", value: (row) => (row.objects ? row.by_reads[0] / row.objects : 0), cell: mix, numeric: false, whole: true, hint: "sorts by the share never read" },
];

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "body"), true);
  const search = /** @type {HTMLInputElement} */ (root.querySelector("#owner-search"));
  const place = h("div");
  const owners = new SortedTable(place, { caption: "Owners", columns: COLUMNS, sort: "bytes", page: 12, noun: "owner" });
  let whole = 0;
  const show = (/** @type {any} */ found) => {
    const wanted = search.value.trim();
    if (!wanted) { whole = found.rows_total || found.rows.length; verdict(root, sentence(found, whole)); }
    if (!found.rows.length) {
      return wanted ? panel.empty(`No owner with “${wanted}” in the name.`, "Search for another part of it.")
        : panel.empty("No owners yet.", "The owner is a part of the key, or what a request says: see [naming] in the configuration.");
    }
    const all = found.rows_total || found.rows.length;
    const note = all > found.rows.length ? `the largest of ${count(all)}; search finds the others` : `counted ${ago(found.computed_at, page.now())}`;
    owners.show(found.rows, note);
    return panel.state === "ready" ? undefined : panel.ready(place);
  };
  const load = () => panel.load(() => get("/stats", { by: "owner", limit: MOST, search: search.value.trim() }), show);
  search.addEventListener("input", settled(() => { panel.forget(); load(); }, 250));
  load();
  setInterval(() => { if (!document.hidden && panel.state === "ready") load(); }, REFRESH);
}

/** @param {any} found @param {number} all */
function sentence(found, all) {
  if (!found.rows.length || !found.total.bytes) return "Nobody has mail here yet.";
  const first = [...found.rows].sort((a, b) => b.bytes - a.bytes).slice(0, 10);
  const held = first.reduce((sum, row) => sum + row.bytes, 0);
  if (all === 1 && !first[0].label) return `${bytes(found.total.bytes)} of mail; whose it is, no request or key says.`;
  if (all <= 10) return `${count(all, "owner")} with ${bytes(found.total.bytes)} of mail.`;
  return `${count(all, "owner")}; the ten largest have ${share(held / found.total.bytes)} of ${bytes(found.total.bytes)}.`;
}

/** Never, once, twice and more, as one bar: the darker, the more often. @param {any} row */
function mix(row) {
  const all = row.by_reads.reduce((/** @type {number} */ sum, /** @type {number} */ one) => sum + one, 0);
  if (!all) return "–";
  const words = row.by_reads.map((/** @type {number} */ one, /** @type {number} */ index) => `${["never", "once", "twice", "3–5 times", "6+ times"][index]}: ${share(one / all)}`).join(", ");
  return h("span.mix", { title: words, role: "img", "aria-label": words }, row.by_reads.map((/** @type {number} */ one, /** @type {number} */ index) =>
    h("span", { dataset: { step: [1, 3, 5, 7, 9][index] }, style: { "flex-grow": one / all } })));
}
