/**
 * The admin API: JSON both ways, problem documents (RFC 9457) as errors. The shapes are those of tierproxy/wire.
 * The session is a cookie; what changes something carries the session's CSRF token as `x-csrf-token`.
 */

const meta = (/** @type {string} */ name) => document.querySelector(`meta[name="${name}"]`)?.getAttribute("content") ?? "";

/** @type {"read"|"operate"} */
export const ROLE = meta("tierproxy-role") === "operate" ? "operate" : "read";
export const MAY_OPERATE = ROLE === "operate";

/** @typedef {{title: string, status: number, code: string, detail: string, hint: string, errors: string[]}} Problem */

/** What the node answered instead of what was asked for; `problem.code` is for programs. */
export class ApiError extends Error {
  /** @param {Partial<Problem>} problem */
  constructor(problem) {
    super(problem.detail || problem.title || "something went wrong");
    /** @type {Problem} */
    this.problem = { title: "Something went wrong", status: 0, code: "unknown", detail: "", hint: "", errors: [], ...problem };
  }
}

/** @param {string} path @param {Object<string, any>} [query] without null and "" */
export function url(path, query = {}) {
  const words = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(words.map(([name, value]) => [name, String(value)])).toString();
  return `/api${path}${text ? `?${text}` : ""}`;
}

/** @param {string} path @param {Object<string, any>} [query] @param {AbortSignal} [signal] @returns {Promise<any>} */
export const get = (path, query = {}, signal = undefined) => send(url(path, query), { signal });

/** @param {string} path @param {any} [body] @param {AbortSignal} [signal] @returns {Promise<any>} */
export function post(path, body = {}, signal = undefined) {
  const headers = { "content-type": "application/json", "x-csrf-token": meta("tierproxy-csrf") };
  return send(url(path), { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** @param {string} address @param {RequestInit} options @returns {Promise<any>} */
async function send(address, options) {
  const headers = { accept: "application/json", ...options.headers };
  let answer;
  try {
    answer = await fetch(address, { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError({ title: "The node does not answer", code: "unreachable", hint: "Is it running? This page tries again by itself." });
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const problem = await answer.json().catch(() => ({ title: answer.statusText || `answer ${answer.status}`, code: "unknown" }));
  if (answer.status === 401) toLogin();
  throw new ApiError({ status: answer.status, ...problem });
}

/** The session is over: log in and come back here. */
export function toLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}
