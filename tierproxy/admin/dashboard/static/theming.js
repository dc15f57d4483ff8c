/** Light, dark, or as the system has it. The choice is kept in this browser; theme.js applies it before the first paint. */

const KEPT = "tierproxy.theme";
const ORDER = ["system", "light", "dark"];
const WORDS = { system: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

/** @type {Set<() => void>} */
const watchers = new Set();
SYSTEM.addEventListener("change", () => { if (chosen() === "system") changed(); });

/** Calls after every change of theme: charts are drawn anew. @param {() => void} call */
export const onTheme = (call) => void watchers.add(call);

/** @type {Map<string, string>} */
const resolved = new Map();

/** A colour of tokens.css as the browser resolves it now, `rgb(…)`. @param {string} name without `--` */
export function colour(name) {
  const known = resolved.get(name);
  if (known) return known;
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  probe.hidden = true;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  resolved.set(name, found);
  return found;
}

/** @param {HTMLElement|null} button */
export function themeSwitch(button) {
  if (!button) return;
  show(button);
  button.addEventListener("click", () => {
    choose(ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]);
    show(button);
    changed();
  });
}

/** @param {HTMLElement} button */
function show(button) {
  const words = WORDS[/** @type {"system"|"light"|"dark"} */ (chosen())];
  button.title = words;
  button.setAttribute("aria-label", words);
  button.querySelector("use")?.setAttribute("href", `#i-theme-${chosen()}`);
}

function chosen() {
  return document.documentElement.dataset.theme ?? "system";
}

/** @param {string} theme */
function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEPT); else localStorage.setItem(KEPT, theme);
  } catch { /* no storage: until the page is left */ }
}

function changed() {
  resolved.clear();
  for (const call of watchers) call();
}
