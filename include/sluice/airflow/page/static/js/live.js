// Asking the server: what has not changed is not sent again, and nobody asks while nobody looks.
import { byId, fill, h } from "./dom.js";
import { leave } from "./airflow.js";

const held = new Map();
const HELD = 12; // answers that are kept to compare with
export const PERIOD = 10_000;

/** An answer that was no answer. */
export class Refused extends Error {
  constructor(status, words, retryAfter = null) {
    super(words);
    this.status = status;
    this.retryAfter = retryAfter; // seconds; null: the server names none
  }
}

/** `fetch`, but a server that does not answer is a refusal as well. */
export async function reach(address, given) {
  try {
    return await fetch(address, { credentials: "same-origin", ...given });
  } catch {
    throw new Refused(0, "The server does not answer. What you see is as old as it says.");
  }
}

/** The JSON at an address beneath the page's own; the same object as before where it has not changed. */
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

/** `ask`, again and again while the server is busy and says when to ask again. `waiting`: called with what it says. */
export async function askPatiently(path, waiting) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await ask(path);
    } catch (error) {
      if (!BUSY.includes(error.status) || error.retryAfter === null || tried === TRIES) throw error;
      waiting(`The server is busy (${error.message}). This page asks again by itself.`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(error.retryAfter, 30) * 1000));
    }
  }
}

/** The header Retry-After in seconds; null: there is none, or it is a date. */
function secondsOf(response) {
  const text = response.headers.get("Retry-After");
  return text && Number.isFinite(Number(text)) ? Math.max(1, Number(text)) : null;
}

/** What a refusal says. */
export async function reason(response) {
  const text = await response.text();
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map((each) => `${(each.loc ?? []).slice(1).join(".")}: ${each.msg}`).join("; ");
    return detail ? JSON.stringify(detail) : text;
  } catch {
    // A proxy's own page: its HTML is of no use to a reader.
    if (BUSY.includes(response.status)) return `the server, or a proxy before it, is busy (${response.status})`;
    return text.slice(0, 500) || `the server answered with ${response.status}`;
  }
}

/** Do something now and every ten seconds while the page is looked at; what goes wrong is told on it. */
export function live(doing) {
  let timer = null;
  let busy = false;
  const go = async () => {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      await doing();
      tell(null);
    } catch (error) {
      tell(error);
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

/** Say what is wrong at the top of the page; null: nothing is. */
export function tell(error) {
  const place = byId("trouble");
  place.hidden = error === null;
  if (error === null) return fill(place);
  if (error.status === 401) {
    return fill(place, "Your login has ended. ", h("button", { type: "button", onclick: () => leave("") }, "Log in again"));
  }
  fill(place, error.message);
}
