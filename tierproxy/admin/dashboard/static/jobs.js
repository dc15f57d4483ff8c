/** What is being worked on: simulations, curves, advice, warm-ups. */
import { MAY_OPERATE, get, post } from "./api.js";
import { changed, onChanged } from "./changes.js";
import { h, icon, part } from "./dom.js";
import { ago, count, moment, share, span } from "./format.js";
import { Panel, verdict, works } from "./panel.js";
import { SortedTable } from "./table.js";

const OVER = new Set(["done", "failed", "cancelled"]);
const QUICK = 2000;
const SLOW = 15000;
const KINDS = { simulate: "Simulation", curve: "Miss-ratio curve", advise: "Advice", warm: "Fetching to disk", history: "Counting history" };
const TONES = { done: "good", failed: "bad", cancelled: "warn", running: "accent", waiting: "" };

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "body"));
  const place = h("div");
  const list = new SortedTable(place, { caption: "Long work", columns: columns(page), sort: "at", page: 8, noun: "job" });
  let timer = 0;
  const load = () => panel.load(() => get("/jobs", { limit: 50 }), (jobs) => {
    const busy = jobs.filter((/** @type {any} */ job) => !OVER.has(job.state)).length;
    verdict(root, busy ? `${count(busy, "job")} under way.` : "Nothing is being worked on.");
    clearTimeout(timer);
    timer = window.setTimeout(tick, busy ? QUICK : SLOW);
    if (!jobs.length) return panel.empty("No long work since the node started.", "Simulations, advice, curves and fetches are listed here while they run and after.");
    if (!place.contains(document.activeElement)) list.show(jobs);
    return panel.state === "ready" ? undefined : panel.ready(place);
  });
  const tick = () => { if (document.hidden) timer = window.setTimeout(tick, SLOW); else load(); };
  onChanged("jobs", load);
  load();
}

/** @param {import("./panel.js").Page} page @returns {import("./table.js").Column<any>[]} */
function columns(page) {
  const took = (/** @type {any} */ job) => (job.started_at === null ? null : (job.ended_at ?? page.now()) - job.started_at);
  return [
    { key: "kind", title: "What", value: (job) => job.kind, cell: (job) => h("span", {}, KINDS[/** @type {"warm"} */ (job.kind)] ?? job.kind, job.title && h("span.beside", {}, job.title)) },
    { key: "state", title: "State", value: (job) => job.state, cell: (job) => h("span", {}, h("span.tag", { dataset: { tone: TONES[/** @type {"done"} */ (job.state)] } }, job.state), job.error && h("span.beside.error-text", {}, job.error)) },
    { key: "progress", title: "Progress", value: (job) => job.progress.done, cell: progress, numeric: true },
    { key: "author", title: "Asked by", value: (job) => job.author },
    { key: "at", title: "Asked", value: (job) => job.asked_at, cell: (job) => h("span", { title: moment(job.asked_at) }, ago(job.asked_at, page.now())), numeric: true },
    { key: "took", title: "Took", value: (job) => took(job) ?? 0, cell: (job) => span(took(job)), numeric: true },
    { key: "act", title: "", value: () => 0, sortable: false, numeric: true, cell: (job) => (OVER.has(job.state) || !MAY_OPERATE ? "" : cancel(job)) },
  ];
}

/** @param {any} job */
function progress({ progress: { phase, done, total, unit }, state }) {
  if (OVER.has(state)) return total ? count(total, "").concat(unit ? ` ${unit}` : "") : "–";
  return total ? `${share(done / total)} of ${count(total)} ${unit}` : phase || "–";
}

/** @param {any} job */
function cancel(job) {
  return works(h("button.button.small", { type: "button", "aria-label": `Cancel job ${job.id}` }, icon("stop"), "Cancel"), async () => {
    await post(`/jobs/${encodeURIComponent(job.id)}/cancel`);
    changed("jobs");
  });
}
