/** Long work: asked for, watched, cancelled. See docs/dashboard.md, "Long work". */
import { get, post } from "./api.js";
import { fill, h, icon, part } from "./dom.js";
import { count, share } from "./format.js";
import { Stream } from "./live.js";
import { notice, works } from "./panel.js";

const OVER = new Set(["done", "failed", "cancelled"]);

/**
 * Follows a job to its end. Returns what stops the following (the job goes on).
 * @param {any} job as it is now
 * @param {{progress: (job: any) => void, done: (job: any) => void, failed: (job: any) => void}} on
 * @returns {() => void}
 */
export function follow(job, on) {
  const tell = async (/** @type {any} */ now) => {
    if (!OVER.has(now.state)) return on.progress(now);
    bars.delete(now.id);
    const whole = now.state === "done" && !now.result ? await get(`/jobs/${encodeURIComponent(now.id)}`) : now;
    return whole.state === "done" ? on.done(whole) : on.failed(whole);
  };
  if (OVER.has(job.state)) { void tell(job); return () => {}; }
  on.progress(job);
  const path = `/jobs/${encodeURIComponent(job.id)}`;
  const lost = () => get(path).then((now) => stream.offer(now), (error) => {
    if (error.problem?.status === 404) stream.offer({ ...job, state: "failed", error: "The node does not know this job any more: it was started anew." });
  });
  const stream = new Stream(`${path}/events`, "job", { until: (now) => OVER.has(now.state), lost });
  stream.subscribe((now) => void tell(now));
  return () => stream.close();
}

/** The last job of a kind that is done or still under way, with its result; null: there is none. @param {string} kind */
export async function lastJob(kind) {
  const jobs = await get("/jobs", { kind, limit: 10 });
  const job = jobs.find((/** @type {any} */ one) => one.state === "done" || !OVER.has(one.state));
  return job ? get(`/jobs/${encodeURIComponent(job.id)}`) : null;
}

/** Bars on the page by job: a bar is changed in place, so that its button keeps the focus. @type {Map<string, HTMLElement>} */
const bars = new Map();

/**
 * How far a job is, with a button that cancels it. For the same job the same element, brought up to date.
 * @param {any} job @param {string} what in words: "Reading history" @returns {HTMLElement}
 */
export function progressBar(job, what) {
  const bar = bars.get(job.id) ?? emptyBar(job.id, what);
  bars.set(job.id, bar);
  const { phase, done, total, unit } = job.progress;
  const text = total ? `${count(done)} of ${count(total)} ${unit} · ${share(done / total)}` : done ? `${count(done)} ${unit}` : "";
  fill(part(bar, "text"), h("strong", {}, job.state === "waiting" ? "Waits for its turn" : phase || what), text && ` · ${text}`);
  const meter = part(bar, "meter");
  if (total) meter.value = Math.min(1, done / total); else meter.removeAttribute("value");
  return bar;
}

/** @param {string} id @param {string} what @returns {HTMLElement} */
function emptyBar(id, what) {
  const problem = h("div");
  const cancel = works(h("button.button.small", { type: "button" }, icon("stop"), "Cancel"), () => post(`/jobs/${encodeURIComponent(id)}/cancel`), problem);
  return h("div.progress", {}, h("p", { dataset: { part: "text" } }), h("progress", { max: 1, "aria-label": what, dataset: { part: "meter" } }),
    h("div.buttons", {}, cancel), problem);
}

/** Why a job has no result, as a message. @param {any} job */
export function jobProblem(job) {
  if (job.state === "cancelled") return notice("", "It was cancelled.");
  const faults = job.faults.map((/** @type {any} */ fault) => (fault.line ? `line ${fault.line}: ${fault.text}` : fault.text));
  return notice("bad", "It failed.", [job.error, ...faults].filter(Boolean));
}
