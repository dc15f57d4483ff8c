/**
 * The page: starts the panels, listens to the node's status, and keeps the shell honest (live or stale, where one is).
 *
 * An element with `data-module="queue"` is a panel or a section of panels: `./queue.js` is imported and its
 * `mount(element, page)` called. A module that is broken shows that in its own place.
 */
import { get, post, ROLE } from "./api.js";
import { span } from "./format.js";
import { Stream } from "./live.js";
import { problemNotice } from "./panel.js";
import { themeSwitch } from "./theming.js";

const STALE = 6000;
const POLL = 5000;

/** @type {Stream<any>} */
const status = new Stream("/status/events", "status");

/** The node's clock: what its last status said, plus the time since. @returns {number} seconds */
function now() {
  return status.value ? status.value.now + (Date.now() - status.at) / 1000 : Date.now() / 1000;
}

/** Says it to screen readers, once. @param {string} text */
function tell(text) {
  const place = document.getElementById("announcements");
  if (place && place.textContent !== text) place.textContent = text;
}

/** @param {string} section @param {string} tone */
function tone(section, tone) {
  const link = document.querySelector(`.rail a[href="#${section}"]`);
  if (!link || link.getAttribute("data-tone") === tone) return;
  link.setAttribute("data-tone", tone);
  const words = { warn: ", needs a look", bad: ", needs you" }[tone] ?? "";
  const hidden = link.querySelector(".unseen");
  if (hidden) hidden.textContent = words;
}

/** @type {import("./panel.js").Page} */
const page = { role: ROLE, status, now, tell, tone };

async function mountAll() {
  const places = [...document.querySelectorAll("[data-module]")];
  await Promise.all(places.map(async (place) => {
    try {
      const module = await import(`./${place.getAttribute("data-module")}.js`);
      await module.mount(place, page);
    } catch (error) {
      console.info("panel:", error);
      (place.querySelector(".panel-body") ?? place).append(problemNotice(error));
    }
  }));
}

/** Live, or how old the numbers are. */
function pulse() {
  const element = document.getElementById("pulse");
  if (!element) return;
  const age = Date.now() - status.at;
  const live = status.at > 0 && age < STALE;
  const text = live ? "Live" : status.at ? `Last update ${span(age / 1000)} ago` : "Connecting";
  if (element.textContent !== text) element.textContent = text;
  const state = live ? "live" : status.at ? "stale" : "";
  if (element.dataset.state === "live" && state === "stale") tell("The connection to the node is lost. Numbers are old.");
  if (element.dataset.state === "stale" && state === "live") tell("Numbers are live again.");
  element.dataset.state = state;
  document.body.classList.toggle("is-stale", state === "stale");
}

/** Where events do not come through (a proxy that buffers), a plain request does. */
async function poll() {
  if (document.hidden || Date.now() - status.at < STALE) return;
  try { status.offer(await get("/status")); } catch (error) { status.fail(error); }
}

/** Marks the section that is read now. */
function followSections() {
  const links = new Map([...document.querySelectorAll(".rail a[href^='#']")].map((link) => [link.getAttribute("href")?.slice(1), link]));
  const seen = new Set();
  const mark = () => {
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === first) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    const strip = document.querySelector(".rail");
    const link = first && links.get(first);
    if (strip instanceof HTMLElement && link instanceof HTMLElement && strip.scrollWidth > strip.clientWidth) {
      strip.scrollTo({ left: link.offsetLeft - strip.clientWidth / 3 });
    }
  };
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) seen.add(target.id); else seen.delete(target.id);
    mark();
  }, { rootMargin: "-15% 0px -60% 0px" });
  for (const id of links.keys()) { const section = document.getElementById(id ?? ""); if (section) observer.observe(section); }
}

function logOut() {
  document.getElementById("log-out")?.addEventListener("click", async () => {
    await post("/logout").catch(() => null);
    location.assign("/login");
  });
}

themeSwitch(document.getElementById("theme"));
logOut();
followSections();
status.subscribe(() => pulse());
setInterval(pulse, 1000);
setInterval(poll, POLL);
mountAll().then(poll);
