/** Is mail safe: what exists on this disk alone, the queue, S3's health, alarms. All of it live. */
import { GRAVE, WHAT_TO_DO } from "./alarms.js";
import { fill, h, part } from "./dom.js";
import { bytes, count, exactly, moment, span } from "./format.js";
import { outage, tiersHealth, worth } from "./health.js";
import { Panel, notice, verdict } from "./panel.js";

/** @typedef {"good"|"warn"|"bad"|""} Tone */

/** @param {HTMLElement} root @param {import("./panel.js").Page} page */
export function mount(root, page) {
  const panel = new Panel(part(root, "figures"));
  const tiers = new Panel(part(root, "health"));
  const alarms = part(root, "alarms");
  let last = "";
  let shown = "";
  panel.loading();
  tiers.loading();
  page.status.subscribe((status) => {
    const { text, tone } = sentence(status);
    verdict(root, text, tone);
    page.tone("safe", tone);
    if (tone !== last && last) page.tell(text);
    last = tone || "good";
    panel.refresh(figures(status));
    tiers.refresh(tiersHealth(status));
    const alarmsNow = JSON.stringify(status.alarms);
    if (alarmsNow !== shown) fill(alarms, status.alarms.map(alarmNotice));
    shown = alarmsNow;
    const name = document.getElementById("node-name");
    if (name && name.textContent !== status.name) name.textContent = status.name;
  }, (error) => { panel.error(error); tiers.error(error); });
}

/** The truth in one sentence. @param {any} status @returns {{text: string, tone: Tone}} */
export function sentence({ safety, alarms, now, tiers, health }) {
  const grave = alarms.some((/** @type {any} */ one) => GRAVE.has(one.alarm));
  const attention = grave ? "bad" : alarms.length || safety.alt === "trouble" || safety.failing || outage(health) ? "warn" : "";
  if (!safety.one_disk.objects) {
    const more = safety.alt === "trouble" ? ", but S3 does not take changes now" : grave ? ", but an alarm needs you" : "";
    if (!attention && tiers.every((/** @type {any} */ tier) => !tier.objects)) return { text: "There is no mail yet.", tone: "" };
    return { text: `All mail is in S3${more}.`, tone: attention };
  }
  const age = safety.oldest_at === null ? null : now - safety.oldest_at;
  const many = safety.one_disk.objects === 1 ? "exists" : "exist";
  const since = age === null ? "" : safety.one_disk.objects === 1 ? `, for ${span(age)}` : `, the oldest for ${span(age)}`;
  const late = age !== null && age > safety.deadline;
  return { text: `${count(safety.one_disk.objects, "mail")} (${bytes(safety.one_disk.bytes)}) ${many} only on this disk${since}.`, tone: late ? "bad" : attention };
}

/** @param {any} status */
function figures({ safety, now, disk, health }) {
  const age = safety.oldest_at === null ? null : now - safety.oldest_at;
  const late = age !== null && age > safety.deadline;
  return h("dl.figures", {},
    figure("Only on this disk", bytes(safety.one_disk.bytes), count(safety.one_disk.objects, "mail"), { title: exactly(safety.one_disk.bytes) }),
    figure("Oldest of it", age === null ? "none" : span(age), `should be in S3 within ${span(safety.deadline)}`,
      { tone: late ? "bad" : "", title: moment(safety.oldest_at) }),
    figure("Upload queue", count(safety.queue_jobs), `${bytes(safety.queue_bytes)} · ${safety.failing ? `${count(safety.failing)} failing` : "none failing"}`,
      { tone: safety.failing ? "warn" : "", title: exactly(safety.queue_bytes) }),
    s3Figure(safety, health, now),
    figure("Free on the file system", bytes(disk.free_bytes), `at least ${bytes(disk.min_free_bytes)} must stay free`,
      { tone: disk.free_bytes < disk.min_free_bytes ? "bad" : "", title: exactly(disk.free_bytes) }));
}

/** In a word; the sentence and the reason are in the panel below. @param {any} safety @param {import("./health.js").TierHealth[]} health @param {number} now */
function s3Figure(safety, health, now) {
  const [worst] = worth(health).filter((one) => one.tier === "alt");
  if (!worst) {
    const [word, tone] = { ok: ["answers", "good"], trouble: ["in trouble", "bad"], unknown: ["not asked yet", ""] }[/** @type {"ok"} */ (safety.alt)];
    return figure("S3", word, safety.alt_error || "by its last answers", { tone });
  }
  const [word, tone] = { normal: ["answers", "good"], unstable: ["shaky", "warn"], down: ["down", "bad"], probing: ["down", "bad"] }[worst.state];
  return figure("S3", word, worst.state === "normal" ? "by its last answers" : `for ${span(now - worst.since)}`, { tone, title: moment(worst.since) });
}

/** @param {string} name @param {string} value @param {string} beside @param {{tone?: string, title?: string}} [options] */
export function figure(name, value, beside, { tone = "", title = "" } = {}) {
  return h("div.figure", { dataset: { tone } }, h("dt", {}, name), h("dd", {}, h("span", { title: title || null }, value), h("span.beside", {}, beside)));
}

/** @param {any} alarm */
function alarmNotice(alarm) {
  const facts = Object.entries(alarm.facts).filter(([, value]) => value !== null && value !== "").map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`);
  const lines = [facts.join(" · "), WHAT_TO_DO[alarm.alarm] ?? "See docs/operations.md."].filter(Boolean);
  const title = alarm.alarm[0].toUpperCase() + alarm.alarm.slice(1) + (alarm.subject ? `: ${alarm.subject}` : "");
  return notice(GRAVE.has(alarm.alarm) ? "bad" : "warn", title, lines);
}
