// Elements of both pages.
import { h } from "./dom.js";
import { outward, pathOf } from "./airflow.js";
import { duration, NOTHING, when } from "./format.js";

/** The verdicts and states by which jobs are filtered and sorted, the worst first. */
export const VERDICTS = ["failed", "degraded", "unknown", "suspended", "idle", "healthy"];
const SIGNS = { failed: "✕", degraded: "▲", unknown: "?", suspended: "❚❚", idle: "○", healthy: "●" };

/** A job's verdict; a suspended job has none, and needs no attention. */
export const verdictOf = (row) => (row.state === "suspended" ? "suspended" : row.verdict);

/** A verdict with its sign, for people who do not see the colours. */
export const badge = (name) => h("span", { class: `badge ${name}` }, h("span", { "aria-hidden": "true" }, SIGNS[name] ?? ""), name);

/** The outcome of an operation. */
export function outcome(name) {
  const kind = { healthy: "healthy", unchanged: "idle", recorded: "healthy", suspended: "idle", completed: "healthy", failed: "failed", rolled_back: "degraded", cancelled: "idle", abandoned: "degraded" }[name] ?? "unknown";
  return h("span", { class: `badge ${kind}` }, (name ?? "running").replace("_", " "));
}

/** The mark of a plan that waits for an approval, with a link to its task; null: none waits. */
export function waiting(row) {
  if (!row.waiting) return null;
  const { kind, why, link } = row.waiting;
  const path = pathOf(link);
  const element = h(path ? "a" : "span", { class: "badge doing", title: `${kind}: ${why}` }, "waits for approval");
  return path ? outward(element, path) : element;
}

/** The newest deploy: its time, outcome and downtime. */
export function lastDeploy(row) {
  if (row.going_on) return [h("span", { class: "badge doing" }, `${row.going_on.kind} is running`), h("span", { class: "under" }, when(row.going_on.since, "began "))];
  const last = row.last_deploy;
  if (!last) return [NOTHING];
  const down = last.downtime_ms === null ? "" : `${duration(last.downtime_ms)} down`;
  const words = [last.kind === "deploy" ? "" : last.kind, last.outcome === "healthy" ? "" : last.outcome.replace("_", " "), down];
  return [when(last.ended_at), h("span", { class: `under${last.outcome === "failed" ? " bad" : ""}` }, words.filter(Boolean).join(", "))];
}
