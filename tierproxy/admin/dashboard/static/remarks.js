/** What is doubtful about an answer, as the node says it: one message for all. */
import { h, icon } from "./dom.js";

/** Null without any. @param {"warn"|""} tone @param {string[]} texts */
export function remarks(tone, texts) {
  if (!texts.length) return null;
  const lines = texts.map((text) => h("p", {}, text[0].toUpperCase() + text.slice(1)));
  return h("div.notice", { dataset: { tone } }, icon(tone ? "warning" : "note"), h("div.notice-text", {}, lines));
}
