/** The numbers in a rule file that are worth trying: found in its text, and written back into it. No TOML parser: what it does not find, it leaves alone. */

const AGE_STEPS = ["1h", "3h", "6h", "12h", "1d", "2d", "3d", "5d", "7d", "10d", "14d", "21d", "30d", "45d", "60d", "90d", "120d", "180d", "365d"];
const READ_STEPS = Array.from({ length: 13 }, (_, index) => String(index));
const SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7.5, 10];
const TIMES = { s: 1, m: 60, min: 60, h: 3600, d: 86400, w: 604800 };
const SIZES = { "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
const CONDITION = /\b(age|idle|on_disk|machine_reads|reads)\s*=\s*(["'])\s*(<=|>=|<|>|=)\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)?\b/g;
const BUDGET = /^(\s*max_bytes\s*=\s*(["']))([\d._]+\s*[A-Za-z]*)\2/;

/**
 * @typedef {{name: string, rule: string, at: number, length: number, value: string, steps: string[], about: string}} Threshold
 *   `at`, `length`: where `value` stands in the text. `steps`: what a slider offers, `value` among them.
 */

/** @param {string} text @returns {Threshold[]} */
export function thresholds(text) {
  const found = [];
  let rule = "";
  let offset = 0;
  for (const line of text.split("\n")) {
    const code = uncommented(line);
    rule = code.match(/^\s*name\s*=\s*(["'])(.*)\1\s*$/)?.[2] ?? rule;
    for (const match of code.matchAll(CONDITION)) {
      const [whole, name, , sign, number, unit = ""] = match;
      const value = number + unit;
      const timed = name !== "reads" && name !== "machine_reads";
      if (timed !== Boolean(unit)) continue;
      const within = offset + (match.index ?? 0) + whole.lastIndexOf(number);
      found.push({ name, rule, at: within, length: offset + (match.index ?? 0) + whole.length - within, value, steps: withValue(timed ? AGE_STEPS : READ_STEPS, value), about: `${name.replace("_", " ")} ${sign}` });
    }
    offset += line.length + 1;
  }
  return found;
}

/** The budget of the whole disk that a text sets, in bytes; null: it leaves that to the configuration. @param {string} text @returns {number|null} */
export function budgetOf(text) {
  const place = budgetPlace(text);
  return place ? sizeOf(place.value) : null;
}

/** Sizes around this one, this one among them. @param {number} size @returns {number[]} */
export const budgetSteps = (size) => SHARES.map((share) => (share === 1 ? size : Number((size * share).toPrecision(2))));

/** The text with this budget. @param {string} text @param {number} size bytes */
export function withBudget(text, size) {
  const place = budgetPlace(text);
  const written = sizeText(size);
  if (place) return text.slice(0, place.at) + written + text.slice(place.at + place.value.length);
  const line = `max_bytes = "${written}"\n`;
  const table = text.match(/^\[budget\][^\n]*\n?/m);
  if (!table) return `[budget]\n${line}\n${text}`;
  const end = (table.index ?? 0) + table[0].length;
  return `${text.slice(0, end)}${table[0].endsWith("\n") ? "" : "\n"}${line}${text.slice(end)}`;
}

/** @param {string} text @param {Threshold} threshold @param {string} value */
export const withValueAt = (text, threshold, value) => text.slice(0, threshold.at) + value + text.slice(threshold.at + threshold.length);

/** @param {string} text */
function budgetPlace(text) {
  let table = "";
  let offset = 0;
  for (const line of text.split("\n")) {
    table = line.match(/^\s*\[+\s*([^\]]+?)\s*\]/)?.[1] ?? table;
    const match = table === "budget" ? line.match(BUDGET) : null;
    if (match) return { at: offset + match[1].length, value: match[3] };
    offset += line.length + 1;
  }
  return null;
}

/** Without what follows a # outside of quotes. @param {string} line */
function uncommented(line) {
  const match = line.match(/^(?:[^"'#]|"(?:[^"\\]|\\.)*"|'[^']*')*/);
  return match ? match[0] : line;
}

/** @param {string[]} steps @param {string} value */
function withValue(steps, value) {
  if (steps.includes(value)) return steps;
  return [...steps, value].sort((a, b) => measure(a) - measure(b));
}

/** @param {string} value `14d`, `3` */
function measure(value) {
  const [, number, unit] = value.match(/^([\d.]+)\s*(\w*)$/) ?? ["", "0", ""];
  return Number(number) * (TIMES[/** @type {"s"} */ (unit)] ?? 1);
}

/** @param {string} text `750MB` @returns {number|null} */
function sizeOf(text) {
  const [, number, unit] = text.match(/^([\d._]+)\s*([A-Za-z]*)$/) ?? [];
  const factor = SIZES[/** @type {"MB"} */ (unit ?? "")];
  return number && factor ? Number(number.replaceAll("_", "")) * factor : null;
}

/** @param {number} size */
function sizeText(size) {
  const unit = ["TB", "GB", "MB", "KB"].find((one) => size >= SIZES[/** @type {"MB"} */ (one)]) ?? "B";
  return `${Number((size / SIZES[/** @type {"MB"} */ (unit)]).toPrecision(3))}${unit}`;
}
