/** The shadow rules beside the live ones: what both removed, and what people missed. */
import { ApiError, MAY_OPERATE, get, post } from "./api.js";
import { askToApply, said } from "./applying.js";
import { changed, onChanged } from "./changes.js";
import { fill, h, settled } from "./dom.js";
import { bytes, count, exactly, share, span } from "./format.js";
import { Panel, confirm, notice, works } from "./panel.js";
import { scrollBox, table } from "./table.js";

const DAYS = 30;
const REFRESH = 10000;
const SETTLED = 1500;

/** @param {HTMLElement} root @param {HTMLElement} tools @param {import("./draft.js").Draft} draft @param {import("./panel.js").Page} page @param {() => void} edit */
export function mountShadow(root, tools, draft, page, edit) {
  const place = h("div");
  const message = h("div.acted.quiet-empty", { "aria-live": "polite" });
  fill(root, message, place);
  const panel = new Panel(place);
  const ask = async () => {
    const status = page.status.value ?? (await get("/status"));
    if (!status.shadow) return null;
    try { return await get("/rules/compare", { days: DAYS }); } catch (error) {
      if (error instanceof ApiError && error.problem.status === 404) return null;
      throw error;
    }
  };
  const load = () => panel.load(ask, (found) => {
    fill(tools, found && buttons(found));
    if (found) panel.ready(...view(found, page));
    else panel.empty("No shadow rules.", "Rules in the shadow remove nothing; the node counts what they would have removed and what people would have missed.");
  });
  const buttons = (/** @type {any} */ found) => [
    works(h("button.button.small", { type: "button" }, "Open"), async () => { draft.set((await get("/rules", { kind: "shadow", counts: false })).text ?? ""); edit(); }, message),
    MAY_OPERATE && works(h("button.button.small", { type: "button" }, "Make live"), promote, message),
    MAY_OPERATE && works(h("button.button.small.danger", { type: "button" }, "End"), () => end(found), message),
  ];
  const promote = async () => {
    const { text } = await get("/rules", { kind: "shadow", counts: false });
    if ((await askToApply("Make the shadow rules live?", text ?? "", "live", "Make live", "promoted from the shadow")) === null) return;
    said(await post("/rules/promote"), "live", message, page);
    changed("rules");
  };
  const end = async (/** @type {any} */ found) => {
    const lines = [`What they counted in ${span(page.now() - found.since)} is forgotten: ${count(total(found.shadow, "objects"), "mail")} removed, ${count(found.shadow_misses, "read")} missed. Nothing on disk changes.`];
    if (!(await confirm("End the shadow rules?", lines, "End the shadow", { danger: true }))) return;
    await post("/rules/shadow/end");
    fill(message, notice("", "The shadow has ended."));
    page.tell("The shadow has ended.");
    changed("rules");
  };
  onChanged("rules", load);
  onChanged("reads", settled(load, SETTLED));
  setInterval(() => { if (!document.hidden && panel.state !== "error" && !root.contains(document.activeElement)) load(); }, REFRESH);
  load();
}

/** @param {any[]} records @param {"objects"|"bytes"|"regrets"} what */
const total = (records, what) => records.reduce((sum, one) => sum + one[what], 0);

/** @param {any} found @param {import("./panel.js").Page} page */
function view(found, page) {
  const both = (/** @type {string} */ name, /** @type {any} */ live, /** @type {any} */ shadow) => [name, live, shadow];
  const size = (/** @type {number} */ value) => h("span", { title: exactly(value) }, bytes(value));
  return [
    h("p.panel-lead", {}, sentence(found, page.now())),
    h("div.table-box.bleed", {}, scrollBox("Live and shadow", table("Live and shadow rules", [{ title: "Measure", unseen: true }, { title: "Live", numeric: true }, { title: "Shadow", numeric: true }], [
      both("Reads missed for a purge", count(found.live_misses), count(found.shadow_misses)),
      both("of all reads", share(ratio(found.live_misses, found.reads)), share(ratio(found.shadow_misses, found.reads))),
      both("On disk now", size(found.live_bytes), size(found.shadow_bytes)),
      both("Removed", count(total(found.live, "objects")), count(total(found.shadow, "objects"))),
      both("Bytes removed", size(total(found.live, "bytes")), size(total(found.shadow, "bytes"))),
      both("Wanted back", count(total(found.live, "regrets")), count(total(found.shadow, "regrets"))),
    ]))),
  ];
}

/** @param {number} part @param {number} whole */
const ratio = (part, whole) => (whole ? part / whole : null);

/** @param {any} found @param {number} now */
export function sentence(found, now) {
  const time = `In ${span(now - found.since)}`;
  if (!found.reads) return `${time} nobody has read anything, so nothing can be said yet.`;
  const less = found.live_bytes - found.shadow_bytes;
  const disk = less ? `take ${bytes(Math.abs(less))} ${less > 0 ? "less" : "more"} disk` : "take as much disk";
  const more = found.shadow_misses - found.live_misses;
  const missed = more ? `miss ${count(Math.abs(more), "read")} ${more > 0 ? "more" : "less"}` : "miss as many reads";
  return `${time} and ${count(found.reads, "read")} the shadow rules ${missed} and ${disk}.`;
}
