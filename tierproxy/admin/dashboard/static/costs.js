/** What does it cost: the bill by the price sheet, and what it would be without the disk. */
import { get } from "./api.js";
import { h, part } from "./dom.js";
import { count, dollars, rate } from "./format.js";
import { Panel, verdict } from "./panel.js";
import { choice } from "./series.js";
import { scrollBox, table } from "./table.js";

const REFRESH = 60000;

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "body"));
  let days = 30;
  const ask = () => get("/costs", { days });
  const load = () => panel.load(ask, (costs) => {
    verdict(root, sentence(costs));
    return panel.ready(...view(costs));
  });
  part(root, "days").append(choice("Traffic of the last", ["1 d", "7 d", "30 d"], "30 d", (name) => { days = Number.parseInt(name, 10); panel.forget(); load(); }));
  setInterval(() => { if (!document.hidden && panel.state === "ready") load(); }, REFRESH);
  void page;
  load();
}

/** @param {any} costs */
export function sentence(costs) {
  const other = costs.without_disk;
  const than = other === null ? "" : other > costs.total ? `; without this disk it would be ${dollars(other)}` : `; without this disk it would be less, ${dollars(other)}`;
  return `${dollars(costs.total)} a month at the traffic of the last ${period(costs.days)}${than}.`;
}

/** @param {number} days */
const period = (days) => (days >= 1.95 ? `${count(days)} days` : days >= 0.95 ? "day" : days >= 0.08 ? `${count(Math.max(1, days * 24), "hour")}` : `${count(Math.max(1, days * 1440), "minute")}`);

/** @param {any} costs */
function view(costs) {
  const most = Math.max(...costs.lines.map((/** @type {any} */ line) => line.dollars), 1e-12);
  const bar = (/** @type {any} */ line) => h("span.ratio", {}, h("span", {}, dollars(line.dollars)), h("span.bar", { "aria-hidden": "true" }, h("span.bar-fill", { style: { width: `${(100 * line.dollars) / most}%` } })));
  const rows = costs.lines.map((/** @type {any} */ line) => [named(line.what), h("span", {}, `${rate(line.amount)} ${line.unit}`), bar(line)]);
  rows.push([h("strong", {}, "In all"), "", h("strong.ratio", {}, dollars(costs.total), h("span.bar.no-bar", { "aria-hidden": "true" }))]);
  return [
    scrollBox("The bill", table("What it costs a month", [{ title: "For" }, { title: "So much", numeric: true }, { title: "Dollars a month", numeric: true }], rows)),
    h("p.panel-note.inset", {}, `Prices of ${costs.priced}, from ${costs.sheet}. Put your own there.` + (costs.days < 1 ? " The traffic of less than a day says little about a month." : "")),
  ];
}

/** @param {string} what */
const named = (what) => ({ "bytes out of alt": "Bytes out of S3", "kept on alt": "Kept in S3", disk: "This disk" }[what] ?? what.replace(/^(\w+) requests$/, (_, kind) => `${kind.toUpperCase()} requests`));
