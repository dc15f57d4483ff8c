/** Every version that was in force: when, by whom, why, what it purged; and back to one of them. */
import { MAY_OPERATE, get, post } from "./api.js";
import { askToApply, said } from "./applying.js";
import { changed, onChanged } from "./changes.js";
import { fill, h } from "./dom.js";
import { ago, bytes, count, moment } from "./format.js";
import { Panel, works } from "./panel.js";
import { SortedTable } from "./table.js";

const MOST = 100;

/** @param {HTMLElement} root @param {import("./draft.js").Draft} draft @param {import("./panel.js").Page} page @param {() => void} edit brings the editor into view */
export function mountVersions(root, draft, page, edit) {
  const place = h("div");
  const message = h("div.acted.inset.quiet-empty", { "aria-live": "polite" });
  const table = h("div");
  fill(root, message, place);
  const panel = new Panel(place);
  const load = () => panel.load(async () => (await Promise.all([get("/rules/versions", { limit: MOST }), get("/rules/versions", { kind: "shadow", limit: MOST })])).flat(), (versions) => {
    if (!versions.length) return panel.empty("No version is recorded yet.", "The first rule file that comes in force is version 1.");
    list.show(versions);
    return panel.state === "ready" ? undefined : panel.ready(table);
  });
  const open = async (/** @type {any} */ one) => { draft.set((await get(`/rules/versions/${one.number}`)).text); edit(); };
  const restore = async (/** @type {any} */ one) => {
    const { text } = await get(`/rules/versions/${one.number}`);
    const reason = await askToApply(`Put version ${one.number} in force?`, text, "live", `Put version ${one.number} in force`, `back to version ${one.number}`);
    if (reason === null) return;
    said(await post("/rules/restore", { version: one.number, reason }), "live", message, page);
    changed("rules");
  };
  const list = new SortedTable(table, { caption: "Versions of the rules", columns: columns(draft, page, { open, restore, message }), sort: "number", page: 8, noun: "version" });
  onChanged("rules", load);
  draft.on("live", () => { if (panel.state === "ready") load(); });
  load();
}

/** @param {import("./draft.js").Draft} draft @param {import("./panel.js").Page} page @param {any} act @returns {import("./table.js").Column<any>[]} */
function columns(draft, page, { open, restore, message }) {
  const live = (/** @type {any} */ one) => one.kind === "live" && one.number === draft.live?.version;
  const tools = (/** @type {any} */ one) => h("span.buttons.end", {},
    works(h("button.button.small", { type: "button", "aria-label": `Open version ${one.number} in the editor` }, "Open"), () => open(one), message),
    MAY_OPERATE && !live(one) && works(h("button.button.small", { type: "button", "aria-label": `Put version ${one.number} in force` }, one.kind === "shadow" ? "Make live" : "Restore"), () => restore(one), message));
  return [
    { key: "number", title: "Version", value: (one) => one.number, cell: (one) => h("span", {}, `${one.number} `, live(one) ? h("span.tag", { dataset: { tone: "good" } }, "in force") : one.kind === "shadow" ? h("span.tag", {}, "shadow") : null) },
    { key: "at", title: "When", value: (one) => one.at, cell: (one) => h("span", { title: moment(one.at) }, ago(one.at, page.now())) },
    { key: "author", title: "By", value: (one) => one.author },
    { key: "reason", title: "Why", value: (one) => one.reason || "–", whole: true },
    { key: "purged", title: "Purged", value: (one) => one.purged_bytes, cell: (one) => (one.purged_objects ? h("span", {}, count(one.purged_objects, "mail"), h("span.beside", {}, bytes(one.purged_bytes))) : "–"), numeric: true },
    { key: "act", title: "", value: () => 0, sortable: false, numeric: true, whole: true, cell: tools },
  ];
}
