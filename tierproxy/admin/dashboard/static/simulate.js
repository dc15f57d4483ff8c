/** What a text would have done on the recorded traffic, beside the rules in force. */
import { post } from "./api.js";
import { changed } from "./changes.js";
import { fill, h, icon } from "./dom.js";
import { follow, jobProblem, lastJob, progressBar } from "./job.js";
import { Knobs } from "./knobs.js";
import { Panel, notice, problemNotice } from "./panel.js";
import { DRAFT, view } from "./sidebyside.js";

const DAY = 86400;
const TIMES = { "all recorded": 0, "the last 7 days": 7, "the last 30 days": 30, "the last 90 days": 90 };
const BESIDE = [
  { key: "live", label: "the rules in force", on: true },
  { key: "shadow", label: "the shadow rules", on: false },
  { key: "lru", label: "no rules, least recently used first", on: true },
  { key: "belady", label: "the ceiling: knowing the future", on: true },
];

/** @param {HTMLElement} root @param {import("./draft.js").Draft} draft @param {import("./panel.js").Page} page */
export function mountSimulate(root, draft, page) {
  const knobs = h("div.knobs");
  const message = h("div.acted.quiet-empty");
  const result = h("div.simulated");
  const boxes = BESIDE.map(({ key, label, on }) => h("label.check", {}, h("input", { type: "checkbox", name: key, checked: on }), label));
  const time = /** @type {HTMLSelectElement} */ (h("select.input.small", { "aria-label": "Traffic of" }, Object.entries(TIMES).map(([name, days]) => h("option", { value: days }, name))));
  const button = h("button.button.primary", { type: "submit" }, icon("play"), "Simulate");
  fill(root, h("form.simulate", { onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); void begin(); } },
    h("fieldset", {}, h("legend", {}, "Numbers of the text"), knobs),
    h("fieldset", {}, h("legend", {}, "Beside it"), boxes, h("label.field", {}, h("span", {}, "Traffic of"), time), h("div.buttons.after", {}, button), message)), result);
  const sliders = new Knobs(knobs, draft, () => page.status.value?.disk.max_bytes ?? 0);
  const panel = new Panel(result);
  let stop = () => {};
  const on = {
    progress: (/** @type {any} */ job) => panel.ready(progressBar(job, "Replaying traffic")),
    done: (/** @type {any} */ job) => { changed("jobs"); show(panel, job.result, page); },
    failed: (/** @type {any} */ job) => { changed("jobs"); panel.ready(jobProblem(job)); },
  };
  async function begin() {
    if (draft.check && !draft.usable) return fill(message, notice("warn", "The text has errors.", ["They are listed beside it."]));
    fill(message);
    const chosen = new Set(BESIDE.filter((_, index) => /** @type {HTMLInputElement} */ (boxes[index].querySelector("input")).checked).map(({ key }) => key));
    const days = Number(time.value);
    const candidates = [{ name: DRAFT, text: draft.text }, ...["live", "shadow"].filter((key) => chosen.has(key)).map((key) => ({ name: key, version: key }))];
    try {
      stop();
      const job = await post("/jobs/simulate", { candidates, policies: ["lru", "belady"].filter((key) => chosen.has(key)), since: days ? page.now() - days * DAY : null });
      changed("jobs");
      stop = follow(job, on);
      return undefined;
    } catch (error) { return fill(message, problemNotice(error)); }
  }
  draft.on("text", () => sliders.show());
  draft.on("live", () => sliders.show());
  page.status.subscribe((status) => {
    sliders.show();
    const shadow = /** @type {HTMLInputElement} */ (boxes[1].querySelector("input"));
    shadow.disabled = !status.shadow;
    if (!status.shadow) shadow.checked = false;
  });
  panel.load(() => lastJob("simulate"), (job) => {
    if (job) stop = follow(job, on);
    else panel.empty("Not simulated yet.", "The recorded reads and writes are replayed through the text above and what is chosen beside it. Reads go on meanwhile, and nothing is changed.");
  });
}

/** @param {Panel} panel @param {any} result @param {import("./panel.js").Page} page */
function show(panel, result, page) {
  if (!result.events) return panel.empty("There is no recorded traffic of that time.", "It is recorded while people read mail ([history] in the configuration). Come back after some days.");
  const { sentence, nodes } = view(result);
  page.tell(sentence);
  return panel.ready(...nodes);
}
