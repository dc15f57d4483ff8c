/** What would other rules do: the editor, and all that can be known about a text before it is put in force. */
import { MAY_OPERATE } from "./api.js";
import { mountAdvise } from "./advise.js";
import { applyDraft } from "./applying.js";
import { onChanged, watch } from "./changes.js";
import { mountDifference } from "./difference.js";
import { fill, h, part } from "./dom.js";
import { Draft } from "./draft.js";
import { Editor, faultList } from "./editor.js";
import { count } from "./format.js";
import { Panel, confirm, notice, problemNotice, verdict, works } from "./panel.js";
import { inWords } from "./rules.js";
import { mountShadow } from "./shadow.js";
import { mountSimulate } from "./simulate.js";
import { mountVersions } from "./versions.js";

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export async function mount(root, page) {
  const draft = new Draft();
  const panel = new Panel(part(root, "editor"));
  const editor = new Editor({ label: "Rule file", onInput: (text) => draft.set(text) });
  const edit = () => { root.querySelector("#editor-title")?.scrollIntoView(); editor.field.focus({ preventScroll: true }); };
  const message = h("div.acted.quiet-empty", { "aria-live": "polite" });
  const acts = buttons(draft, message, page);
  panel.loading();
  draft.on("text", () => editor.show(draft.text));
  for (const event of /** @type {const} */ (["text", "check", "live"])) draft.on(event, () => tellState(root, draft, editor, acts, page));
  mountDifference(part(root, "difference"), draft);
  mountSimulate(part(root, "simulate"), draft, page);
  mountAdvise(part(root, "advise"), part(root, "advise-tools"), draft, page, edit);
  mountShadow(part(root, "shadow"), part(root, "shadow-tools"), draft, page, edit);
  mountVersions(part(root, "versions"), draft, page, edit);
  watch(page, "rules", (status) => [status.rules_version, status.shadow]);
  onChanged("rules", () => draft.follow().catch(() => null));
  fill(part(root, "sources"), acts.revert);
  await begin(draft, panel, () => panel.ready(editor.root, h("div.editor-foot", {}, h("div.buttons", {}, acts.all), h("p.panel-note", {}, "Tab leaves the text. A draft is kept in this browser.")), message));
}

/** @param {Draft} draft @param {Panel} panel @param {() => void} ready */
async function begin(draft, panel, ready) {
  await panel.load(() => draft.begin(), ready);
}

/** @param {Draft} draft @param {HTMLElement} message @param {import("./panel.js").Page} page */
function buttons(draft, message, page) {
  const act = (/** @type {string} */ classes, /** @type {string} */ text, /** @type {() => Promise<void>} */ work) => works(h(`button.button${classes}`, { type: "button" }, text), work, message);
  const live = act(".primary", "Make live", () => applyDraft(draft, "live", message, page));
  const shadow = act("", "Put in shadow", () => applyDraft(draft, "shadow", message, page));
  const revert = act(".small", "Give the draft up", async () => {
    const sure = await confirm("Give this draft up?", ["The text in the editor becomes what is in force. What you wrote is lost."], "Give it up", { danger: true });
    if (sure) draft.set(draft.live.text ?? "", draft.live.version);
  });
  const all = MAY_OPERATE ? [live, shadow] : [h("p.panel-note", {}, "Your account may look and simulate; putting rules in force takes the role operate.")];
  return { all, live, shadow, revert };
}

/** The sentence, the marks, the faults, and which buttons do something. @param {HTMLElement} root @param {Draft} draft @param {Editor} editor @param {any} acts @param {import("./panel.js").Page} page */
function tellState(root, draft, editor, acts, page) {
  const faults = draft.check?.faults ?? [];
  editor.mark(faults);
  const { text, tone } = sentence(draft);
  verdict(root, text, tone);
  acts.revert.hidden = !draft.differs;
  for (const [button, off] of [[acts.live, !draft.differs || !draft.usable], [acts.shadow, !draft.usable]]) button.disabled = off;
  fill(part(root, "notices"), draft.overtaken && notice("warn", `Version ${draft.live.version} came in force after this draft was begun (from ${draft.base ? `version ${draft.base}` : "no version"}).`,
    ["Look at the difference below; the draft replaces it as a whole."], h("button.button.small", { type: "button", onclick: () => draft.rebase(draft.live.version) }, "I have seen it")));
  says(part(root, "says"), draft, editor);
  void page;
}

/** @param {Draft} draft @returns {{text: string, tone: "warn"|"bad"|""}} */
export function sentence(draft) {
  if (!draft.live) return { text: "", tone: "" };
  if (draft.check && !draft.usable) {
    const errors = draft.check.faults.filter((/** @type {any} */ one) => one.level === "error").length;
    return { text: `This text cannot be used: it has ${count(errors, "error")}.`, tone: "bad" };
  }
  if (!draft.differs) return { text: draft.live.version ? `The text below is version ${draft.live.version}, in force now.` : "There are no rules in force: write some.", tone: "" };
  return { text: draft.check ? "Your draft is right, and not in force." : "Your draft is not in force.", tone: "" };
}

/** @param {HTMLElement} place @param {Draft} draft @param {Editor} editor */
function says(place, draft, editor) {
  if (!draft.check) {
    if (draft.failed) fill(place, problemNotice(draft.failed));
    return;
  }
  const { faults, words, errors } = draft.check;
  const listed = faults.length ? faults : errors.map((/** @type {string} */ text) => ({ level: "error", line: 0, text, fix: "", rule: "" }));
  fill(place, h("div", { id: "editor-faults", role: "status" }, listed.length ? faultList(listed, (line) => editor.go(line)) : h("p.panel-note", {}, words.length ? "No faults." : "It has no rules: pressure alone makes room.")),
    words.length > 0 && inWords(words));
}
