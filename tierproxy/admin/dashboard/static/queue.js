/** What waits for S3: oldest first, what fails and why, and a way to hurry. */
import { MAY_OPERATE, get, post } from "./api.js";
import { fill, h, icon, part } from "./dom.js";
import { ago, bytes, count, exactly, moment, span } from "./format.js";
import { Panel, problemNotice, verdict, works } from "./panel.js";
import { choice } from "./series.js";
import { SortedTable } from "./table.js";

const MOST = 200;
const REFRESH = 5000;

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "body"));
  const message = h("div.queue-message");
  const place = h("div");
  const jobs = new SortedTable(place, { caption: "Upload queue", columns: columns(page, (job) => hurry([job.name])), sort: "queued", descending: false, page: 10, noun: "job" });
  let failing = false;
  async function hurry(/** @type {string[]|null} */ objects) {
    try {
      const { hurried } = await post("/queue/hurry", { objects });
      page.tell(`${count(hurried, "job")} due now.`);
      fill(message);
      load();
    } catch (error) { fill(message, problemNotice(error)); }
  }
  const all = works(h("button.button.small", { type: "button" }, icon("hurry"), "Try all now"), () => hurry(null));
  const show = (/** @type {any} */ queue) => {
    const { text, tone } = sentence(queue.totals, page.now());
    verdict(root, text, tone);
    page.tone("queue", tone);
    all.hidden = !queue.totals.jobs;
    if (!queue.jobs.length) {
      return queue.totals.jobs && failing ? panel.empty("Nothing is failing.", `${count(queue.totals.jobs, "job")} wait for their first try.`)
        : panel.empty("The queue is empty.", "Writes that S3 does not have yet, and deletes, wait here.");
    }
    const shown = failing ? queue.totals.failing : queue.totals.jobs;
    jobs.show(queue.jobs, shown > queue.jobs.length ? `the oldest of ${count(shown)}` : "");
    return panel.state === "ready" ? undefined : panel.ready(message, place);
  };
  const load = () => panel.load(() => get("/queue", { limit: MOST, failing: failing || null }), show);
  part(root, "tools").append(choice("Which", ["All", "Failing"], "All", (name) => { failing = name === "Failing"; panel.forget(); load(); }), ...(MAY_OPERATE ? [all] : []));
  load();
  setInterval(() => { if (!document.hidden && panel.state !== "error" && !root.contains(document.activeElement)) load(); }, REFRESH);
}

/** @param {any} totals @param {number} now @returns {{text: string, tone: "warn"|""}} */
export function sentence(totals, now) {
  if (!totals.jobs) return { text: "Nothing waits for S3.", tone: "" };
  const oldest = totals.oldest_queued_at === null ? "" : `, the oldest for ${span(now - totals.oldest_queued_at)}`;
  const wait = totals.jobs === 1 ? "waits" : "wait";
  const failing = totals.failing ? ` ${count(totals.failing)} failed and will be tried again.` : "";
  return { text: `${count(totals.jobs, "change")} (${bytes(totals.bytes)}) ${wait} for S3${oldest}.${failing}`, tone: totals.failing ? "warn" : "" };
}

/** @param {import("./panel.js").Page} page @param {(job: any) => Promise<void>} hurry @returns {import("./table.js").Column<any>[]} */
function columns(page, hurry) {
  const when = (/** @type {number} */ at) => h("span", { title: moment(at) }, ago(at, page.now()));
  /** @type {import("./table.js").Column<any>[]} */
  const found = [
    { key: "name", title: "Object", value: (job) => job.name, cell: (job) => h("a", { href: `#explain=${encodeURIComponent(job.name)}` }, job.name), mono: true, whole: true },
    { key: "kind", title: "What", value: (job) => job.kind, cell: (job) => (job.kind === "put" ? "upload" : "delete") },
    { key: "size", title: "Size", value: (job) => job.size, cell: (job) => h("span", { title: exactly(job.size) }, job.kind === "put" ? bytes(job.size) : "–"), numeric: true },
    { key: "queued", title: "Waits", value: (job) => job.queued_at, cell: (job) => h("span", { title: moment(job.queued_at) }, span(page.now() - job.queued_at)), numeric: true },
    { key: "attempts", title: "Tries", value: (job) => job.attempts, cell: (job) => count(job.attempts), numeric: true },
    { key: "next", title: "Next try", value: (job) => job.next_try_at, cell: (job) => (job.next_try_at <= page.now() ? "now" : when(job.next_try_at)), numeric: true },
    { key: "error", title: "Last error", value: (job) => job.last_error ?? "", cell: (job) => (job.last_error ? h("span.error-text", {}, job.last_error) : "–"), whole: true },
  ];
  if (MAY_OPERATE) {
    found.push({ key: "act", title: "Act", value: () => 0, sortable: false, numeric: true,
      cell: (job) => works(h("button.button.small", { type: "button", "aria-label": `Try now: ${job.name}`, "data-hold": job.name }, "Try now"), () => hurry(job)) });
  }
  return found;
}
