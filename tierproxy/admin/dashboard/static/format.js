/** Numbers and times for people, as tierproxy/cli/words.py says them. What is not known is an en dash. */

export const NONE = "–";
const WHOLE = new Intl.NumberFormat("en-US");
const DAY = 86400;

/** Three significant digits without an exponent. @param {number} value @param {number} digits */
const significant = (value, digits) => String(Number(value.toPrecision(digits)));

/** `15.2 KB`; decimal units, three significant digits. @param {number|null|undefined} size @returns {string} */
export function bytes(size) {
  if (size === null || size === undefined) return NONE;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (Math.abs(size) < 999.5) return `${unit === "B" ? Math.round(size) : significant(size, 3)} ${unit}`;
    size /= 1000;
  }
  return `${significant(size, 4)} TB`;
}

/** `1,204`; with a noun `1 mail`, `1,204 mails`. @param {number|null|undefined} number @param {string} [noun] */
export function count(number, noun = "") {
  if (number === null || number === undefined) return NONE;
  return WHOLE.format(Math.round(number)) + (noun ? ` ${noun}${number === 1 ? "" : "s"}` : "");
}

/** `12 B exactly`, for titles. @param {number|null|undefined} size */
export const exactly = (size) => (size === null || size === undefined ? "" : `${WHOLE.format(size)} bytes`);

/** `98.4%`; of nothing an en dash. Nearly all is never 100, next to nothing never 0. @param {number|null|undefined} ratio */
export function share(ratio) {
  if (ratio === null || ratio === undefined || Number.isNaN(ratio)) return NONE;
  const percent = 100 * ratio;
  if (percent < 100 && percent >= 99.95) return "99.9%";
  if (percent > 0 && percent < 0.05) return "< 0.1%";
  return `${percent.toFixed(1)}%`;
}

/** `3 min`, `2 h`: the largest unit that gives at least one. @param {number|null|undefined} seconds */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  for (const [unit, length] of /** @type {[string, number][]} */ ([["d", DAY], ["h", 3600], ["min", 60]])) {
    if (seconds >= length) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.round(Math.max(seconds, 0))} s`;
}

/** `3.2 ms`, `1.1 s`, `240 µs`. @param {number|null|undefined} seconds */
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${significant(seconds * 1e6, 2)} µs`;
  if (seconds < 1) return `${significant(seconds * 1000, 2)} ms`;
  return `${significant(seconds, 2)} s`;
}

/** `2026-11-21 21:30:05 UTC`, for titles. @param {number|"forever"|null|undefined} at */
export function moment(at) {
  if (at === null || at === undefined) return "";
  if (at === "forever") return "for ever";
  return `${new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** `2026-11-21`. @param {number} day days since the epoch */
export const dayText = (day) => new Date(day * DAY * 1000).toISOString().slice(0, 10);

/** `12 min ago`, `in 3 h`, `for ever`. @param {number|"forever"|null|undefined} at @param {number} now */
export function ago(at, now) {
  if (at === null || at === undefined) return NONE;
  if (at === "forever") return "for ever";
  const seconds = now - at;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

/** What removed an object, in words: `rule:NAME`, `pressure`, `operator`. @param {string|null|undefined} by */
export const reason = (by) => (by?.startsWith("rule:") ? `the rule “${by.slice(5)}”` : by === "operator" ? "an operator" : by ?? NONE);

/** A number that may have a fraction: `12`, `3.4`. @param {number} value */
export const rate = (value) => (value >= 100 ? count(value) : significant(value, 2));

/** Dollars: `$12.30`, `$0.0042`. @param {number|null|undefined} value */
export function dollars(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 0.1 || size === 0 ? 2 : 4;
  return `${value < 0 ? "−" : ""}$${size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}
