/** Is the disk well used: the budget with its waters, buckets' budgets, and what each tier holds. Live. */
import { fresh, h, part } from "./dom.js";
import { bytes, count, exactly, share } from "./format.js";
import { Panel, verdict } from "./panel.js";
import { scrollBox, table } from "./table.js";

const NAMES = { memory: "Memory", disk: "Disk", stub: "Stubs", alt: "S3" };

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const budget = new Panel(part(root, "budget"));
  const tiers = new Panel(part(root, "tiers"));
  const bar = new BudgetBar();
  budget.loading();
  tiers.loading();
  page.status.subscribe((status) => {
    const { text, tone } = sentence(status.disk);
    verdict(root, text, tone);
    page.tone("disk", tone);
    bar.show(status.disk);
    if (budget.state !== "ready") budget.ready(bar.root);
    tiers.refresh(tierTable(status));
  }, (error) => { budget.error(error); tiers.error(error); });
}

/** @param {any} disk @returns {{text: string, tone: "warn"|"bad"|""}} */
export function sentence(disk) {
  if (!disk.used) return { text: `The disk is empty; purging starts at ${bytes(disk.high)}.`, tone: "" };
  const part = share(disk.used / disk.max_bytes);
  if (disk.used >= disk.hard) return { text: `The disk is full: ${bytes(disk.used)} of at most ${bytes(disk.hard)}. Writes are refused.`, tone: "bad" };
  if (disk.used > disk.high) return { text: `${part} of the disk budget is used, more than its high water: purging.`, tone: "warn" };
  return { text: `${part} of the disk budget is used; purging starts in ${bytes(disk.high - disk.used)}.`, tone: "" };
}

/** One bar from nothing to the hard limit, with marks where something begins. It is changed in place, so that it can glide. */
class BudgetBar {
  constructor() {
    this.used = h("div.budget-used");
    this.reserved = h("div.budget-reserved");
    this.marks = h("div.budget-marks");
    this.track = h("div.budget", { role: "img" }, this.used, this.reserved, this.marks);
    this.more = h("div");
    this.root = h("div", {}, this.track, this.more);
  }

  /** @param {any} disk */
  show(disk) {
    const most = Math.max(disk.hard, disk.used + disk.reserved);
    const at = (/** @type {number} */ size) => `${(100 * size) / most}%`;
    this.used.style.width = at(disk.used);
    this.used.dataset.tone = disk.used > disk.high ? "warn" : "";
    this.reserved.style.left = at(disk.used);
    this.reserved.style.width = at(disk.reserved);
    this.track.setAttribute("aria-label", `Disk budget: ${bytes(disk.used)} used of ${bytes(disk.max_bytes)}; low water ${bytes(disk.low)}, high water ${bytes(disk.high)}, hard limit ${bytes(disk.hard)}.`);
    const marks = [["low", disk.low], ["high", disk.high], ["budget", disk.max_bytes], ["hard", disk.hard]];
    fresh(this.marks, ...marks.map(([name, size]) => h("span.budget-mark", { dataset: { mark: name }, style: { left: at(Number(size)) } })));
    fresh(this.more, h("dl.budget-facts", {}, facts(disk)), ...bucketBars(disk.buckets));
  }
}

/** @param {any} disk */
function facts(disk) {
  const fact = (/** @type {string} */ mark, /** @type {string} */ name, /** @type {number} */ size, /** @type {string} */ about) =>
    h("div", {}, h("dt", {}, h("span.mark-key", { dataset: { mark }, "aria-hidden": "true" }), name), h("dd", { title: exactly(size) }, bytes(size), h("span.beside", {}, about)));
  const peak = disk.peak === null ? "" : `at most ${bytes(disk.peak)} since the start`;
  return [
    fact("used", "Used", disk.used, peak),
    fact("low", "Low water", disk.low, "purging stops here"),
    fact("high", "High water", disk.high, "purging starts here"),
    fact("budget", "Budget", disk.max_bytes, disk.reserved ? `${bytes(disk.reserved)} being written` : "what copies may take"),
    fact("hard", "Hard limit", disk.hard, "writes are refused here"),
    h("div", {}, h("dt", {}, "Free inodes"), h("dd", {}, count(disk.free_inodes), h("span.beside", {}, disk.inodes ? `${share(disk.free_inodes / disk.inodes)} of the file system's` : ""))),
  ];
}

/** @param {Record<string, {used: number, max_bytes: number}>} buckets */
function bucketBars(buckets) {
  const rows = Object.entries(buckets).map(([name, { used, max_bytes: most }]) => [name,
    h("span.ratio", { title: `${exactly(used)} of ${exactly(most)}` }, h("strong", {}, share(used / most)),
      h("span.bar", { "aria-hidden": "true" }, h("span.bar-fill", { style: { width: `${Math.min(100, (100 * used) / most)}%` } }))), `${bytes(used)} of ${bytes(most)}`]);
  return rows.length ? [h("div.table-box.bleed", {}, table("Budgets of buckets", [{ title: "Bucket" }, { title: "Used", numeric: true }, { title: "Of its budget", numeric: true }], rows))] : [];
}

/** @param {any} status */
function tierTable({ tiers }) {
  const rows = tiers.map((/** @type {any} */ one) => [NAMES[/** @type {"disk"} */ (one.tier)], count(one.objects),
    h("span", { title: exactly(one.bytes) }, bytes(one.bytes)), one.max_bytes ? h("span", { title: exactly(one.max_bytes) }, bytes(one.max_bytes)) : "–"]);
  const alt = tiers.find((/** @type {any} */ one) => one.tier === "alt");
  const disk = tiers.find((/** @type {any} */ one) => one.tier === "disk");
  const note = alt?.objects ? `${share(disk.objects / alt.objects)} of the objects the catalogue knows have a copy on this disk.` : "The catalogue knows no objects yet.";
  return h("div", {}, scrollBox("What each tier holds", table("What each tier holds",
    [{ title: "Tier", unseen: true }, { title: "Objects", numeric: true }, { title: "Bytes", numeric: true }, { title: "At most", numeric: true }], rows)), h("p.panel-note.inset", {}, note));
}
