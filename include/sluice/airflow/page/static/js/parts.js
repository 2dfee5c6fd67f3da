// What both pages show alike.
import { h } from "./dom.js";
import { outward, pathOf } from "./airflow.js";
import { duration, NOTHING, when } from "./format.js";

/** What a job is filtered and sorted by, the worst first. */
export const STANDINGS = ["failed", "degraded", "unknown", "suspended", "idle", "healthy"];
const SIGNS = { failed: "✕", degraded: "▲", unknown: "?", suspended: "❚❚", idle: "○", healthy: "●" };

/** A job's verdict; one that somebody has suspended has none, and is nothing to look into. */
export const standing = (row) => (row.state === "suspended" ? "suspended" : row.verdict);

/** A standing with its sign: colour alone tells some people nothing. */
export const badge = (name) => h("span", { class: `badge ${name}` }, h("span", { "aria-hidden": "true" }, SIGNS[name] ?? ""), name);

/** How an operation ended. */
export function outcome(name) {
  const kind = { healthy: "healthy", unchanged: "idle", recorded: "healthy", suspended: "idle", completed: "healthy", failed: "failed", rolled_back: "degraded", cancelled: "idle", abandoned: "degraded" }[name] ?? "unknown";
  return h("span", { class: `badge ${kind}` }, (name ?? "going on").replace("_", " "));
}

/** That a plan waits for a person, and the way to where it is answered; null: none does. */
export function waiting(row) {
  if (!row.waiting) return null;
  const { kind, why, link } = row.waiting;
  const path = pathOf(link);
  const element = h(path ? "a" : "span", { class: "badge doing", title: `${kind}: ${why}` }, "waits for approval");
  return path ? outward(element, path) : element;
}

/** The newest deploy: when, how it ended, what it cost. */
export function lastDeploy(row) {
  if (row.going_on) return [h("span", { class: "badge doing" }, `${row.going_on.kind} goes on`), h("span", { class: "under" }, when(row.going_on.since, "began "))];
  const last = row.last_deploy;
  if (!last) return [NOTHING];
  const down = last.downtime_ms === null ? "" : `${duration(last.downtime_ms)} down`;
  const words = [last.kind === "deploy" ? "" : last.kind, last.outcome === "healthy" ? "" : last.outcome.replace("_", " "), down];
  return [when(last.ended_at), h("span", { class: `under${last.outcome === "failed" ? " bad" : ""}` }, words.filter(Boolean).join(", "))];
}
