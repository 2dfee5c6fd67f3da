// Figures, durations and moments as text. An unknown value is an em dash.
import { h } from "./dom.js";

export const NOTHING = "—";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const known = (value) => value !== null && value !== undefined;

/** 12,345 */
export const count = (value) => (known(value) ? whole.format(value) : NOTHING);
/** 12.3K */
export const compact = (value) => (known(value) ? short.format(value) : NOTHING);
/** 1.2K/s */
export const rate = (value) => (known(value) ? `${value !== 0 && Math.abs(value) < 10 ? value.toFixed(1) : compact(value)}/s` : NOTHING);

/** Milliseconds: 850 ms, 2.5 s, 3 min 20 s, 5 h 2 min, 3 d 4 h. */
export function duration(ms) {
  if (!known(ms)) return NOTHING;
  const sign = ms < 0 ? "−" : "";
  const value = Math.abs(ms);
  if (value < 1000) return `${sign}${Math.round(value)} ms`;
  const seconds = value / 1000;
  if (seconds < 10) return `${sign}${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${sign}${Math.round(seconds)} s`;
  const pair = (big, bigUnit, little, littleUnit) => `${sign}${big} ${bigUnit}${little ? ` ${little} ${littleUnit}` : ""}`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 600) return pair(Math.floor(seconds / 60), "min", Math.floor(seconds % 60), "s");
  if (minutes < 60) return `${sign}${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** Unix seconds: 2026-01-31 12:00:05 UTC */
export const exact = (at) => `${new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;

// One unit is enough: the title has the exact moment.
function ago(at) {
  const past = Date.now() / 1000 - at;
  const seconds = Math.abs(past);
  if (seconds < 5) return "just now";
  const [value, unit] = seconds < 60 ? [seconds, "s"] : seconds < 3600 ? [seconds / 60, "min"] : seconds < 172_800 ? [seconds / 3600, "h"] : [seconds / 86_400, "d"];
  return past > 0 ? `${Math.floor(value)} ${unit} ago` : `in ${Math.round(value)} ${unit}`;
}

/** How long ago, with the exact moment in its title; `refreshMoments` updates it. */
export function when(at, before = "") {
  if (!known(at)) return NOTHING;
  return h("time", { datetime: new Date(at * 1000).toISOString(), title: exact(at), "data-at": at, "data-before": before }, before + ago(at));
}

/** Update all moments on the page. */
export function refreshMoments() {
  for (const each of document.querySelectorAll("time[data-at]")) {
    const words = each.dataset.before + ago(Number(each.dataset.at));
    if (each.textContent !== words) each.textContent = words;
  }
}
