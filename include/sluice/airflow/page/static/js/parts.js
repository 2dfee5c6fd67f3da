// What both pages show alike.
import { h } from "./dom.js";
import { duration, NOTHING, when } from "./format.js";

export const VERDICTS = ["failed", "degraded", "unknown", "idle", "healthy"];
const SIGNS = { failed: "✕", degraded: "▲", unknown: "?", idle: "○", healthy: "●" };

/** A verdict with its sign: colour alone tells some people nothing. */
export const verdict = (name) => h("span", { class: `badge ${name}` }, h("span", { "aria-hidden": "true" }, SIGNS[name] ?? ""), name);

/** How an operation ended. */
export function outcome(name) {
  const kind = { healthy: "healthy", unchanged: "idle", recorded: "healthy", suspended: "idle", completed: "healthy", failed: "failed", rolled_back: "degraded", cancelled: "idle", abandoned: "degraded" }[name] ?? "unknown";
  return h("span", { class: `badge ${kind}` }, (name ?? "going on").replace("_", " "));
}

/** The newest deploy: when, how it ended, what it cost. */
export function lastDeploy(row) {
  if (row.going_on) return [h("span", { class: "badge doing" }, `${row.going_on.kind} goes on`), h("span", { class: "under" }, when(row.going_on.since, "since "))];
  const last = row.last_deploy;
  if (!last) return [NOTHING];
  const down = last.downtime_ms === null ? "" : `${duration(last.downtime_ms)} down`;
  const words = [last.kind === "deploy" ? "" : last.kind, last.outcome === "healthy" ? "" : last.outcome.replace("_", " "), down];
  return [when(last.ended_at), h("span", { class: `under${last.outcome === "failed" ? " bad" : ""}` }, words.filter(Boolean).join(", "))];
}
