/** Why an object is where it is: every rule with the numbers behind it, and what can be done by hand. */
import { MAY_OPERATE, get, post } from "./api.js";
import { fill, h, icon, part, s, settled } from "./dom.js";
import { ago, bytes, count, dayText, exactly, moment, reason } from "./format.js";
import { Panel, confirm, notice, works } from "./panel.js";

const ANCHOR = "#explain=";
const TIERS = { memory: "memory", disk: "disk", alt: "S3" };
const DAYS = 60;

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "body"));
  const form = part(root, "form");
  const input = /** @type {HTMLInputElement} */ (form.elements.namedItem("object"));
  const sentence = /** @type {HTMLElement} */ (root.querySelector(".verdict"));
  const explain = (/** @type {string} */ object, acted = false) => {
    panel.forget();
    return panel.load(() => get("/objects/explain", { object }), (account) => {
      fill(sentence, fate(account));
      page.tell(sentence.textContent ?? "");
      panel.ready(...view(account, page, () => explain(object, true)));
      if (acted) root.querySelector("h3")?.focus();
    });
  };
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const object = input.value.trim();
    if (!object.includes("/")) return panel.ready(notice("warn", "Name the bucket and the key.", ["For example: mail/alice/u.17"]));
    history.replaceState(null, "", ANCHOR + encodeURIComponent(object));
    return explain(object);
  });
  input.addEventListener("input", settled(() => suggest(input.value), 200));
  const follow = () => {
    if (!location.hash.startsWith(ANCHOR)) return;
    input.value = decodeURIComponent(location.hash.slice(ANCHOR.length));
    root.scrollIntoView();
    explain(input.value);
    input.focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", follow);
  follow();
}

/** Names that begin so, below the field. @param {string} text */
async function suggest(text) {
  const list = document.getElementById("explain-found");
  const slash = text.indexOf("/");
  if (!list || text.length < 2) return;
  try {
    const names = slash < 0 ? (await get("/buckets")).map((/** @type {any} */ one) => `${one.name}/`)
      : (await get("/objects", { bucket: text.slice(0, slash), prefix: text.slice(slash + 1), limit: 12 })).objects.map((/** @type {any} */ one) => one.object);
    fill(list, names.map((/** @type {string} */ name) => h("option", { value: name })));
  } catch { /* a suggestion that fails is none */ }
}

/** What the next run of the rules does with it. @type {Record<string, (account: any) => string>} */
const FATES = {
  absent: () => "It is not on disk: the next read fetches it from S3.",
  dirty: () => "It stays: S3 does not have it for certain.",
  pinned: () => "It stays: it is pinned.",
  young: () => "It stays: it came to disk only just now.",
  goes: ({ decided_by: rule }) => `The next run removes it${rule ? `: the rule “${rule}” purges it` : ""}.`,
  kept: ({ decided_by: rule }) => `It stays${rule ? `: the rule “${rule}” keeps it` : ""}.`,
  undecided: () => "It stays until space is short: no rule decides.",
};

/** @param {any} account */
const fate = (account) => FATES[account.fate]?.(account) ?? `It ${account.fate_text}.`;

/** @param {any} account @param {import("./panel.js").Page} page @param {() => void} again */
function view(account, page, again) {
  const about = [account.rules_version ? `version ${account.rules_version}` : "", account.rules_about].filter(Boolean).join(", ");
  const message = h("div.acted", { "aria-live": "polite" });
  return [
    h("div.explain-head", {}, h("h3.mono", { tabindex: "-1" }, account.object), h("span.tags", {}, ...tags(account))),
    MAY_OPERATE && h("div.buttons.after", {}, actions(account, page, again, message)), message,
    h("div.explain-grid", {}, facts(account, page), days(account)),
    h("h4.small-head", {}, `Rules, tried from the top${about ? ` (${about})` : ""}`),
    rules(account), next(account),
  ];
}

/** @param {any} account */
function tags(account) {
  const where = account.tiers.map((/** @type {"disk"} */ tier) => h("span.tag", { dataset: { tone: "accent" } }, TIERS[tier] ?? tier));
  const state = account.state === "clean" ? [] : [h("span.tag", { dataset: { tone: "warn" } }, account.state)];
  const pinned = account.pinned_until === null ? [] : [h("span.tag", { dataset: { tone: "good" } }, icon("pin"), account.pinned_until === "forever" ? "pinned" : `pinned until ${moment(account.pinned_until)}`)];
  return [...where, ...state, ...pinned];
}

/** @param {any} account @param {import("./panel.js").Page} page */
function facts(account, page) {
  const when = (/** @type {number|null} */ at) => h("span", { title: moment(at) }, ago(at, page.now()));
  const rows = [
    ["Size", h("span", { title: exactly(account.size) }, bytes(account.size))],
    ["On disk", account.disk_bytes ? h("span", { title: exactly(account.disk_bytes) }, bytes(account.disk_bytes), account.stored_at === null ? "" : ", stored ", account.stored_at === null ? "" : when(account.stored_at)) : "no copy"],
    ["Written", when(account.written_at)], ["Last read", account.last_read_at === null ? "never by a person" : when(account.last_read_at)],
    ["Reads", `${count(account.reads)} by people (${count(account.reads_7d)} in 7 days, ${count(account.reads_30d)} in 30), ${count(account.machine_reads)} by machines`],
    ["Owner", account.owner || "not known"], ["Folder", account.folder || "not known"],
    account.purged_at !== null && ["Purged", h("span", {}, when(account.purged_at), ` by ${reason(account.purged_by)}${account.purged_run ? `, run ${account.purged_run}` : ""}`)],
    account.shadow !== null && ["Shadow rules", account.shadow ? `would purge it, by ${reason(account.shadow_by)}` : "would leave it"],
  ].filter(Boolean);
  return h("dl.facts", {}, rows.map((row) => [h("dt", {}, row[0]), h("dd", {}, row[1])]));
}

/** Reads a day, people's above machines'. @param {any} account */
function days(account) {
  if (!account.days.length) return h("p.panel-note", {}, "No reads are recorded by day.");
  const last = Math.floor(account.now / 86400);
  const known = new Map(account.days.map((/** @type {number[]} */ [day, reads, machine]) => [day, { reads, machine }]));
  const most = Math.max(...account.days.map((/** @type {number[]} */ [, reads, machine]) => reads + machine), 1);
  const bars = Array.from({ length: DAYS }, (_, index) => {
    const day = last - DAYS + 1 + index;
    const { reads = 0, machine = 0 } = known.get(day) ?? {};
    const tall = (/** @type {number} */ value) => (44 * value) / most;
    return s("g", {}, s("title", {}, `${dayText(day)}: ${count(reads, "read")}, ${count(machine)} by machines`),
      s("rect", { class: "spark-ground", x: index * 5, y: 0, width: 5, height: 46 }),
      s("rect", { class: "spark-machine", x: index * 5 + 0.5, width: 4, y: 44 - tall(machine), height: tall(machine) }),
      s("rect", { class: "spark-reads", x: index * 5 + 0.5, width: 4, y: 44 - tall(machine + reads), height: tall(reads) }));
  });
  const sum = account.days.reduce((/** @type {number} */ total, /** @type {number[]} */ [, reads]) => total + reads, 0);
  return h("figure.spark", {}, h("figcaption", {}, `Reads a day, ${DAYS} days`, h("span.legend", {}, h("span.swatch.disk"), "people", h("span.swatch.other"), "machines")),
    s("svg", { viewBox: `0 0 ${DAYS * 5} 46`, preserveAspectRatio: "none", role: "img", "aria-label": `${count(sum, "read")} by people on ${count(account.days.length, "day")}, at most ${count(most)} on one.` },
      s("line", { class: "spark-line", x1: 0, x2: DAYS * 5, y1: 45, y2: 45 }), bars));
}

/** The truth table. @param {any} account */
function rules(account) {
  if (!account.rules.length) return h("p.panel-note", {}, "There are no rules: what was read longest ago goes first when space is short.");
  return h("ol.judgments", {}, account.rules.map((/** @type {any} */ rule) => {
    const decides = rule.rule === account.decided_by;
    const word = rule.expired ? "pin has run out" : rule.matches ? rule.then ?? "policies only" : "does not apply";
    return h("li", { dataset: { decides, matches: rule.matches } },
      h("div.judgment-head", {}, h("strong", {}, rule.rule), h("span.tag", { dataset: { tone: rule.matches && !rule.expired ? "accent" : "" } }, word), decides && h("span.tag", { dataset: { tone: "good" } }, "decides")),
      h("ul.conditions", {}, rule.conditions.map((/** @type {any} */ one) => h("li", { dataset: { holds: one.holds } }, icon(one.holds ? "check" : "cross"),
        h("span.unseen", {}, one.holds ? "holds:" : "does not hold:"), h("code", {}, one.condition), h("span.condition-value", {}, one.text))),
      !rule.conditions.length && h("li", { dataset: { holds: true } }, icon("check"), "applies to everything")));
  }));
}

/** @param {any} account */
function next(account) {
  const lines = [["By itself", account.change_text], ["Pressure", account.pressure_text]].filter(([, text]) => text);
  return lines.length > 0 && h("div.next", {}, h("h4.small-head", {}, "What comes next"), h("dl.facts", {}, lines.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])));
}

/** @param {any} account @param {import("./panel.js").Page} page @param {() => void} again @param {HTMLElement} message */
function actions(account, page, again, message) {
  const objects = [account.object];
  const act = (/** @type {string} */ name, /** @type {string} */ text, /** @type {() => Promise<any>} */ work, danger = false) =>
    works(h(`button.button.small${danger ? ".danger" : ""}`, { type: "button" }, icon(name), text), async () => { const done = await work(); if (done) { page.tell(done); again(); } }, message);
  const onDisk = account.tiers.includes("disk");
  const move = async (/** @type {string} */ path, /** @type {string} */ done) => {
    const { objects: [moved] } = await post(path, { objects });
    if (!moved.done) { fill(message, notice("warn", "Nothing was done.", [moved.why])); return ""; }
    return done;
  };
  return [
    account.pinned_until === null
      ? act("pin", "Pin", async () => { await post("/objects/pin", { objects }); return "Pinned."; })
      : act("pin", "Unpin", async () => { await post("/objects/unpin", { objects }); return "Unpinned."; }),
    !onDisk && act("fetch", "Fetch to disk", () => move("/objects/fetch", "Fetched.")),
    onDisk && act("purge", "Purge from disk", async () => {
      const sure = await confirm("Purge this copy?", [h("span.mono", {}, account.object), "Only the copy on disk goes. It stays in S3, and the next read fetches it again."], "Purge", { danger: true });
      return sure ? move("/objects/purge", "Purged.") : "";
    }, true),
  ];
}

