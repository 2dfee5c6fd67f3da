// Requests to the server: unchanged values are not sent again, and a hidden page sends no requests.
import { byId, fill, h } from "./dom.js";
import { leave } from "./airflow.js";

const held = new Map();
const HELD = 12; // responses that are kept to compare with
export const PERIOD = 10_000;

/** An HTTP error response. */
export class Refused extends Error {
  constructor(status, words, retryAfter = null) {
    super(words);
    this.status = status;
    this.retryAfter = retryAfter; // seconds; null: the server names none
  }
}

/** `fetch`, with a server that does not answer as an error response, too. */
export async function reach(address, given) {
  try {
    return await fetch(address, { credentials: "same-origin", ...given });
  } catch {
    throw new Refused(0, "The server does not answer. This page shows older data, as its times say.");
  }
}

/** The JSON at an address below the page's own; the same object as before if it has not changed. */
export async function ask(path) {
  const before = held.get(path);
  const headers = before ? { "If-None-Match": before.tag } : {};
  const response = await reach(path, { headers, cache: "no-store" });
  if (response.status === 304 && before) return before.value;
  if (!response.ok) throw new Refused(response.status, await reason(response), secondsOf(response));
  const value = await response.json();
  const tag = response.headers.get("ETag");
  if (tag) {
    held.delete(path);
    held.set(path, { tag, value });
    if (held.size > HELD) held.delete(held.keys().next().value);
  }
  return value;
}

const TRIES = 30;
const BUSY = [429, 503];

/** `ask`, retried while the server is busy and sends Retry-After. `waiting` is called with its message. */
export async function askPatiently(path, waiting) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await ask(path);
    } catch (error) {
      if (!BUSY.includes(error.status) || error.retryAfter === null || tried === TRIES) throw error;
      waiting(`The server is busy (${error.message}). This page tries again by itself.`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(error.retryAfter, 30) * 1000));
    }
  }
}

/** The header Retry-After in seconds; null: there is none, or it is a date. */
function secondsOf(response) {
  const text = response.headers.get("Retry-After");
  return text && Number.isFinite(Number(text)) ? Math.max(1, Number(text)) : null;
}

/** The message of an error response. */
export async function reason(response) {
  const text = await response.text();
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map((each) => `${(each.loc ?? []).slice(1).join(".")}: ${each.msg}`).join("; ");
    return detail ? JSON.stringify(detail) : text;
  } catch {
    // A proxy's own page: its HTML is no message for a reader.
    if (BUSY.includes(response.status)) return `the server, or a proxy in front of it, is busy (${response.status})`;
    return text.slice(0, 500) || `the server answered with ${response.status}`;
  }
}

/** Call a function now and every ten seconds while the page is visible; its errors are shown on the page. */
export function live(doing) {
  let timer = null;
  let busy = false;
  const go = async () => {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      await doing();
      showError(null);
    } catch (error) {
      showError(error);
      if (!(error instanceof Refused)) throw error;
    } finally {
      busy = false;
      if (!document.hidden) timer = setTimeout(go, PERIOD);
    }
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : go()));
  go();
  return go;
}

/** Show an error at the top of the page; null: none. */
export function showError(error) {
  const place = byId("trouble");
  place.hidden = error === null;
  if (error === null) return fill(place);
  if (error.status === 401) {
    return fill(place, "Your login has ended. ", h("button", { type: "button", onclick: () => leave("") }, "Log in again"));
  }
  fill(place, error.message);
}
