/** One purge run: followed, in words, cancelled, confirmed, undone. */
import { MAY_OPERATE, get, post } from "./api.js";
import { changed } from "./changes.js";
import { fill, h, icon } from "./dom.js";
import { bytes, count, share } from "./format.js";
import { follow, jobProblem, progressBar } from "./job.js";
import { Stream } from "./live.js";
import { confirm, notice, works } from "./panel.js";

const OVER = new Set(["done", "failed", "cancelled"]);

/** @param {any} run @param {(run: any) => void} on @param {(error: unknown) => void} failed */
export function followRun(run, on, failed) {
  const tell = async (/** @type {any} */ now) => {
    try { on(OVER.has(now.state) ? await get(`/runs/${now.number}`) : now); } catch (error) { failed(error); }
  };
  void tell(run);
  if (OVER.has(run.state)) return;
  new Stream(`/runs/${run.number}/events`, "run", { until: (now) => OVER.has(now.state) }).subscribe((now) => void tell(now));
}

/** @param {any} run */
export function runSentence(run) {
  const removed = run.objects ? `removed ${count(run.objects, "mail")} (${bytes(run.bytes)})` : "removed nothing";
  const skipped = run.skipped ? `; ${count(run.skipped)} were left alone, they changed meanwhile` : "";
  return { done: `Run ${run.number} ${removed}${skipped}.`, cancelled: `Run ${run.number} was cancelled: it ${removed}.`, failed: `Run ${run.number} failed: it ${removed}.`,
    waiting: `Run ${run.number} waits for a confirmation.`, running: `Run ${run.number} has ${removed} so far.`, asked: `Run ${run.number} begins.` }[/** @type {"done"} */ (run.state)];
}

/** How far it is, with what can be done about it. @param {any} run @param {HTMLElement} place */
export function runBar(run, place) {
  if (run.state === "waiting") return waiting(run, place);
  const total = run.planned_objects;
  const text = total ? `${count(run.objects)} of ${count(total)} mails · ${share(run.objects / total)}` : "";
  return h("div.progress", {}, h("p", {}, h("strong", {}, run.state === "asked" ? `Run ${run.number} begins` : `Run ${run.number} purges`), text && ` · ${text}`),
    h("progress", { max: total ? 1 : null, value: total ? Math.min(1, run.objects / total) : null, "aria-label": `Run ${run.number}` }),
    MAY_OPERATE && h("div.buttons", {}, cancelButton(run, place)));
}

/** @param {any} run @param {HTMLElement} place */
function waiting(run, place) {
  const lines = [`Its plan: ${count(run.planned_objects, "mail")} (${bytes(run.planned_bytes)}).`, run.note && `It ${run.note}.`].filter(Boolean);
  return notice("warn", `Run ${run.number} waits for a confirmation`, lines, MAY_OPERATE && h("div.buttons.after", {}, confirmButton(run, place), cancelButton(run, place)));
}

/** @param {any} run @param {HTMLElement} place */
function cancelButton(run, place) {
  return works(h("button.button.small", { type: "button" }, icon("stop"), "Cancel run"), async () => {
    await post(`/runs/${run.number}/cancel`);
    changed("runs");
  }, place);
}

/** @param {any} run @param {HTMLElement} place */
function confirmButton(run, place) {
  return works(h("button.button.small.danger", { type: "button" }, icon("check"), "Let it purge"), async () => {
    const lines = [`${count(run.planned_objects, "copy").replace("copys", "copies")} (${bytes(run.planned_bytes)}) go from this disk, also those that were read recently. All of them are in S3.`];
    if (!(await confirm(`Let run ${run.number} purge?`, lines, `Purge ${count(run.planned_objects)}`, { danger: true }))) return;
    await post(`/runs/${run.number}/confirm`);
    changed("runs");
  }, place);
}

/** Brings back what the run removed. @param {any} run @param {HTMLElement} place */
export function undoButton(run, place) {
  if (!MAY_OPERATE || !run.objects) return null;
  return works(h("button.button.small", { type: "button", "aria-label": `Undo run ${run.number}` }, icon("undo"), "Undo"), async () => {
    const lines = [`What run ${run.number} removed, ${count(run.objects, "mail")} (${bytes(run.bytes)}), is fetched from S3 again, as far as there is room for it and nobody has brought it back since. S3 counts the requests.`];
    if (!(await confirm(`Undo run ${run.number}?`, lines, `Bring back ${count(run.objects, "mail")}`))) return;
    const job = await post(`/runs/${run.number}/undo`);
    changed("jobs");
    follow(job, {
      progress: (now) => fill(place, progressBar(now, `Undoing run ${run.number}`)),
      done: (now) => { fill(place, notice("good", undone(run, now.result))); changed("runs"); },
      failed: (now) => fill(place, jobProblem(now)),
    });
  }, place);
}

/** @param {any} run @param {any} result */
function undone(run, result) {
  const rest = [result.on_disk && `${count(result.on_disk)} were there already`, result.passed && `${count(result.passed)} found no room`,
    result.gone && `${count(result.gone)} are deleted`, result.failed && `${count(result.failed)} failed`].filter(Boolean);
  return `Run ${run.number}: ${count(result.fetched, "mail")} (${bytes(result.bytes)}) brought back${rest.length ? `; ${rest.join(", ")}` : ""}.${result.stopped ? ` It stopped: ${result.stopped}.` : ""}`;
}
