// The page of all jobs.
import { byId, fill, h } from "./dom.js";
import { compact, count, duration, exact, NOTHING, rate, refreshMoments, when } from "./format.js";
import { ask, live } from "./live.js";
import { curve } from "./curve.js";
import { badge, lastDeploy, verdictOf, VERDICTS, waiting } from "./parts.js";

const AT_ONCE = 60; // rows that are drawn before the user scrolls
const STALE = 30 * 60; // seconds after which a sweep is old

const worst = (row) => VERDICTS.indexOf(verdictOf(row));
const COLUMNS = [
  { key: "job", title: "Job", value: (row) => row.job },
  { key: "verdict", title: "Verdict", value: worst },
  { key: "release", title: "Release", value: (row) => row.release, down: true },
  { key: "lag", title: "Lag", unit: "records", value: (row) => row.consumer_lag, down: true, figure: true },
  { key: "watermark", title: "Watermark lag", value: (row) => row.watermark_lag_ms, down: true, figure: true },
  { key: "checkpoint", title: "Checkpoint age", value: (row) => row.checkpoint_age_ms, down: true, figure: true },
  { key: "restarts", title: "Restarts", value: (row) => row.restarts, down: true, figure: true },
  { key: "deploy", title: "Last deploy", value: (row) => row.going_on?.since ?? row.last_deploy?.ended_at, down: true },
];

const query = new URLSearchParams(location.search);
const chosen = {
  text: query.get("text") ?? "",
  verdicts: new Set((query.get("verdict") ?? "").split(",").filter((name) => VERDICTS.includes(name))),
  sort: COLUMNS.find((column) => column.key === query.get("sort"))?.key ?? "verdict",
  down: query.get("down") === "1",
};
let fleet = null;
let curves = null;
let shown = [];
let limit = AT_ONCE;
const drawn = new Map(); // job → { row, curve, element }

function keep() {
  const given = new URLSearchParams();
  if (chosen.text) given.set("text", chosen.text);
  if (chosen.verdicts.size) given.set("verdict", [...chosen.verdicts].join(","));
  if (chosen.sort !== "verdict") given.set("sort", chosen.sort);
  if (chosen.down) given.set("down", "1");
  const words = given.toString();
  history.replaceState(null, "", words ? `?${words}` : location.pathname);
}

function matches(row, words) {
  return words.every((word) => row.text.includes(word));
}

function choose() {
  const words = chosen.text.toLowerCase().split(/\s+/).filter(Boolean);
  const column = COLUMNS.find((each) => each.key === chosen.sort);
  const sign = chosen.down ? -1 : 1;
  const found = fleet.rows.filter((row) => (!chosen.verdicts.size || chosen.verdicts.has(verdictOf(row))) && matches(row, words));
  found.sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    const missing = (x === null || x === undefined) - (y === null || y === undefined);
    if (missing) return missing; // unknown values come last in both directions
    return (x < y ? -sign : x > y ? sign : 0) || (a.job < b.job ? -1 : 1);
  });
  shown = found;
}

function heads() {
  const sorts = COLUMNS.map((column) => {
    const is = chosen.sort === column.key;
    const order = is ? (chosen.down ? "descending" : "ascending") : "none";
    const press = () => {
      chosen.down = is ? !chosen.down : Boolean(column.down);
      chosen.sort = column.key;
      limit = AT_ONCE;
      draw();
      byId(`sort-${column.key}`).focus();
    };
    const arrow = h("span", { class: "arrow", "aria-hidden": "true" }, is ? (chosen.down ? "↓" : "↑") : "↕");
    return h(
      "th",
      { scope: "col", "aria-sort": order, class: column.figure && "figure" },
      h("button", { type: "button", id: `sort-${column.key}`, onclick: press }, column.title, column.unit && h("span", { class: "unit" }, ` (${column.unit})`), arrow),
    );
  });
  fill(document.querySelector("#fleet thead"), h("tr", {}, sorts));
}

function chips() {
  const tally = Object.fromEntries(VERDICTS.map((name) => [name, 0]));
  for (const row of fleet.rows) tally[verdictOf(row)] += 1;
  const focused = document.activeElement?.dataset?.verdict;
  fill(
    byId("verdicts"),
    VERDICTS.map((name) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          "data-verdict": name,
          "aria-pressed": String(chosen.verdicts.has(name)),
          onclick: () => {
            if (!chosen.verdicts.delete(name)) chosen.verdicts.add(name);
            limit = AT_ONCE;
            draw();
          },
        },
        badge(name),
        h("span", { class: "tally" }, count(tally[name])),
      ),
    ),
  );
  if (focused) document.querySelector(`[data-verdict="${focused}"]`)?.focus();
}

const cell = (label, ...children) => h("td", { "data-label": label }, ...children);
const figure = (label, ...children) => h("td", { "data-label": label, class: "figure" }, ...children);

function trend(row) {
  const value = row.lag_per_s;
  if (value === null || Math.abs(value) < 1) return null;
  return h("span", { class: "under" }, `${value > 0 ? "rising" : "falling"} ${rate(Math.abs(value))}`);
}

function line(row) {
  const own = curves?.jobs[row.job];
  const state = ["RUNNING", "suspended"].includes(row.state) ? null : h("span", { class: "state" }, row.state);
  const address = `job?${new URLSearchParams({ name: row.job })}`;
  const recent = row.recent_restarts ? h("span", { class: "under bad" }, `${count(row.recent_restarts)} in 10 min`) : null;
  return h(
    "tr",
    {},
    h("th", { scope: "row", "data-label": "Job" }, h("a", { href: address }, row.job), state),
    h("td", { "data-label": "Verdict", class: "why" }, badge(verdictOf(row)), waiting(row), h("span", { class: "reasons", title: row.reasons.join("\n") }, row.reasons.join("; "))),
    cell("Release", row.release ?? NOTHING, row.drift && h("span", { class: "badge drift", title: "Its files or settings differ from the running release" }, "drift")),
    figure("Lag", h("span", { class: "with-curve" }, own ? curve(own.lag, `consumer lag over the last hours, at most ${compact(Math.max(0, ...own.lag))} records`) : null, h("span", { title: count(row.consumer_lag) }, row.consumer_lag >= 100_000 ? compact(row.consumer_lag) : count(row.consumer_lag))), trend(row)),
    figure("Watermark lag", h("span", { class: "with-curve" }, own ? curve(own.watermark_lag_ms, `watermark lag over the last hours, at most ${duration(Math.max(0, ...own.watermark_lag_ms))}`) : null, h("span", {}, duration(row.watermark_lag_ms)))),
    figure("Checkpoint age", duration(row.checkpoint_age_ms)),
    figure("Restarts", count(row.restarts), recent),
    cell("Last deploy", ...lastDeploy(row)),
  );
}

function lineOf(row) {
  const own = curves?.jobs[row.job];
  const before = drawn.get(row.job);
  if (before && before.row === row.whole && before.own === own) return before.element;
  const element = line(row);
  drawn.set(row.job, { row: row.whole, own, element });
  return element;
}

function rows() {
  const body = document.querySelector("#fleet tbody");
  const focused = document.activeElement?.closest?.("tbody tr")?.querySelector("a")?.textContent;
  body.replaceChildren(...shown.slice(0, limit).map(lineOf));
  if (focused) drawn.get(focused)?.element.querySelector("a")?.focus();
  const all = fleet.rows.length;
  byId("count").textContent = shown.length === all ? `${count(all)} jobs` : `${count(shown.length)} of ${count(all)} jobs`;
  byId("fleet").hidden = !shown.length;
  const empty = byId("empty");
  empty.hidden = Boolean(shown.length);
  empty.textContent = all ? "No job matches." : "There is no job yet, or none that you may see. To add one: “sluice new”, then run its DAG, then redeploy_and_verify.";
}

function head() {
  const place = byId("swept");
  if (fleet.swept_at === null) return fill(place, `Environment ${fleet.environment}. No sweep has run yet: unpause redeploy_and_verify.`);
  const old = Date.now() / 1000 - fleet.swept_at > STALE;
  fill(place, `Environment ${fleet.environment}, by the last sweep `, when(fleet.swept_at), old && h("span", { class: "badge degraded" }, "▲ old: is redeploy_and_verify paused?"));
  place.title = exact(fleet.swept_at);
}

function draw() {
  keep();
  choose();
  head();
  heads();
  chips();
  rows();
}

async function refresh() {
  const found = await ask("api/fleet");
  if (found !== fleet) {
    const before = new Map((fleet?.rows ?? []).map((row) => [row.job, row]));
    for (const row of found.rows) {
      const words = JSON.stringify(row);
      const old = before.get(row.job);
      // The same string object as before: `lineOf` compares it.
      row.whole = old?.whole === words ? old.whole : words;
      row.text = `${row.job} ${row.state} ${verdictOf(row)} ${row.reasons.join(" ")} ${row.drift ? "drift" : ""} ${row.waiting ? "waits for approval" : ""}`.toLowerCase();
    }
    fleet = found;
    draw();
  }
  refreshMoments();
  const newer = await ask("api/curves");
  if (newer !== curves) {
    curves = newer;
    rows();
  }
}

byId("text").value = chosen.text;
byId("text").addEventListener("input", (event) => {
  chosen.text = event.target.value;
  limit = AT_ONCE;
  if (fleet) draw();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(document.activeElement?.tagName ?? "")) {
    event.preventDefault();
    byId("text").focus();
  }
});
// Draw more rows when the end comes near.
const end = new IntersectionObserver(
  (entries) => {
    if (!fleet || !entries.some((entry) => entry.isIntersecting) || limit >= shown.length) return;
    limit += AT_ONCE;
    rows();
    // The observer reports changes only, and the end may still be near.
    end.unobserve(byId("more"));
    end.observe(byId("more"));
  },
  { rootMargin: "1200px" },
);
end.observe(byId("more"));
live(refresh);
