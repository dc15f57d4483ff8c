/** Advice: rules searched on the recorded traffic, judged on days the search has not seen. */
import { MAY_OPERATE, post } from "./api.js";
import { applyDraft } from "./applying.js";
import { changed } from "./changes.js";
import { fill, h, icon } from "./dom.js";
import { bytes, count, dollars, moment, share } from "./format.js";
import { follow, jobProblem, lastJob, progressBar } from "./job.js";
import { Panel, problemNotice, works } from "./panel.js";

/** @param {HTMLElement} root @param {HTMLElement} tools @param {import("./draft.js").Draft} draft @param {import("./panel.js").Page} page @param {() => void} edit */
export function mountAdvise(root, tools, draft, page, edit) {
  const place = h("div");
  const message = h("div.acted.quiet-empty", { "aria-live": "polite" });
  fill(root, message, place);
  const panel = new Panel(place);
  const ask = (/** @type {string} */ text) => h("button.button.small", { type: "button", onclick: () => void begin() }, icon("play"), text);
  const on = {
    progress: (/** @type {any} */ job) => { fill(tools); panel.ready(progressBar(job, "Searching rules")); },
    done: (/** @type {any} */ job) => { changed("jobs"); fill(tools, ask("Search again")); page.tell(begun(job.result.verdict)); panel.ready(...view(job.result, actions)); },
    failed: (/** @type {any} */ job) => { changed("jobs"); fill(tools, ask("Search again")); panel.ready(jobProblem(job)); },
  };
  async function begin() {
    try { follow(await post("/jobs/advise", {}), on); changed("jobs"); } catch (error) { panel.ready(problemNotice(error, ask("Try again"))); }
  }
  const actions = (/** @type {any} */ one) => [
    h("button.button.small", { type: "button", "aria-label": `Open “${one.name}” in the editor`, onclick: () => { draft.set(one.rules); edit(); } }, "Open in the editor"),
    MAY_OPERATE && works(h("button.button.small", { type: "button", "aria-label": `Put “${one.name}” in the shadow` }, "Put in shadow"), async () => { draft.set(one.rules); await applyDraft(draft, "shadow", message, page); }, message),
  ];
  panel.load(() => lastJob("advise"), (job) => {
    if (job) follow(job, on);
    else panel.empty("No advice was asked for yet.", "Rules are searched on your own recorded traffic and judged on days the search has not seen. It takes a minute or two; nothing is changed.", ask("Search better rules"));
  });
}

/** @param {any} advised @param {(one: any) => any} actions */
function view(advised, actions) {
  return [
    h("p.panel-lead", {}, begun(advised.verdict)),
    advised.proposals.length > 0 && h("ol.proposals", {}, advised.proposals.map((/** @type {any} */ one) => proposal(one, advised, actions))),
    h("p.panel-note.after", {}, `${count(advised.tried, "rule set")} tried on ${moment(advised.since).slice(0, 10)} to ${moment(advised.split).slice(0, 10)}, judged on the days to ${moment(advised.until).slice(0, 10)}. ${standard(advised)}`),
  ].filter(Boolean);
}

/** As a sentence. @param {string} text */
const begun = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

/** @param {any} advised */
function standard({ baseline, live, ceiling }) {
  const found = [["the default age rule", baseline], ["the rules in force", live], ["the ceiling", ceiling]].filter(([, one]) => one && one.hit_ratio !== null).map(([name, one]) => `${name} ${share(one.hit_ratio)}`);
  return found.length ? `There served: ${found.join(", ")}.` : "";
}

/** @param {any} one @param {any} advised @param {(one: any) => any} actions */
function proposal(one, advised, actions) {
  const base = advised.baseline;
  const saves = [saved(one.saves_reads, (by) => `${count(by, "read")} from S3`), saved(one.saves_bytes, (by) => `${bytes(by)} of disk`), one.saves_dollars !== null && Math.abs(one.saves_dollars) >= 0.005 && saved(one.saves_dollars, (by) => `${dollars(by)} a month`)].filter(Boolean).join(", ");
  return h("li", {}, h("h4", {}, one.name), h("p", {}, begun(one.about)),
    h("dl.facts", {}, h("dt", {}, "Hit ratio"), h("dd", {}, h("strong", {}, share(one.held_out.hit_ratio)), ` on unseen days; the default age rule ${share(base.hit_ratio)}`),
      h("dt", {}, "Disk"), h("dd", {}, `${bytes(one.held_out.disk_mean)} on average, at most ${bytes(one.held_out.disk_peak)}`),
      h("dt", {}, "Regrets"), h("dd", {}, `${count(one.held_out.regrets)} of ${count(one.held_out.purged.objects, "mail")} purged`),
      saves && h("dt", {}, "Than that rule"), saves && h("dd", {}, saves)),
    h("details.behind", {}, h("summary", {}, "The rule file"), h("pre.file", { tabindex: "0", role: "region", "aria-label": `Rule file of “${one.name}”` }, one.rules)),
    h("div.buttons.after", {}, actions(one)));
}

/** @param {number|null} by @param {(by: number) => string} text */
const saved = (by, text) => (by ? `${text(Math.abs(by))} ${by > 0 ? "less" : "more"}` : "");
