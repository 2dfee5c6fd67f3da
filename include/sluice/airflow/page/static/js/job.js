// The page of one job.
import { byId, fill, h } from "./dom.js";
import { count, duration, exact, NOTHING, refreshMoments, when } from "./format.js";
import { ask, askPatiently, live, Refused } from "./live.js";
import { followNavigation, outward, pathOf } from "./airflow.js";
import { badge, lastDeploy, outcome, verdictOf } from "./parts.js";
import { Charts } from "./charts.js";
import { showDifference } from "./diff.js";
import { openForm } from "./trigger.js";

const NAME = new URLSearchParams(location.search).get("name") ?? "";
const DEPLOY = `deploy.${NAME}`;
const BACKFILL = `backfill.${NAME}`;
const SPANS = [
  ["1 h", 1],
  ["6 h", 6],
  ["24 h", 24],
  ["7 d", 168],
  ["14 d", 336],
];
const address = (what, given = {}) => `api/${what}?${new URLSearchParams({ name: NAME, ...given })}`;
let answer = null;
let view = null;
// The shown range: the last hours, or a range that the user has chosen; no hours: not known yet.
const span = { hours: Number(new URLSearchParams(location.search).get("hours")) || null, since: null, until: null };

document.title = NAME;
byId("crumb").textContent = NAME;

/* The head: how it is, and what can be done. */

function head() {
  const { row } = view;
  const note = row.reasons.length ? h("ul", { class: "why" }, row.reasons.map((words) => h("li", {}, words))) : null;
  const seen = row.seen_at === null ? "by the ledger and the files; no sweep has looked since" : ["as the sweep of ", when(row.seen_at), " has seen it"];
  fill(
    byId("head"),
    h("header", { class: "top" }, h("div", { class: "title" }, h("h1", {}, NAME), badge(verdictOf(row)), row.drift ? h("span", { class: "badge drift" }, "drift") : null), actions()),
    h("p", { class: "quiet" }, `${row.state}, environment ${view.environment}, `, seen),
    note,
    row.waiting ? question(row.waiting) : null,
    h(
      "dl",
      { class: "figures" },
      fact("Release", row.release ?? NOTHING, view.flink_job_id ? h("code", { title: `Flink job ${view.flink_job_id}` }, view.flink_job_id.slice(0, 8)) : null),
      fact("Consumer lag", count(row.consumer_lag), view.limits ? `records, limit ${count(view.limits.consumer_lag)}` : "records"),
      fact("Watermark lag", duration(row.watermark_lag_ms), view.limits ? `limit ${duration(view.limits.watermark_lag_ms)}` : null),
      fact("Checkpoint age", duration(row.checkpoint_age_ms), view.limits ? `limit ${duration(view.limits.checkpoint_age_ms)}` : null),
      fact("Restarts", count(row.restarts), row.recent_restarts ? `${count(row.recent_restarts)} in 10 min` : "since its submission"),
      fact("Last deploy", ...lastDeploy(row)),
    ),
    Object.keys(view.overrides).length ? h("p", {}, "Settings from a run: ", Object.entries(view.overrides).map(([name, value]) => h("code", { class: "given" }, `${name}=${JSON.stringify(value)}`))) : null,
  );
}

// The open approval, with a link to the task that takes the answer.
function question({ kind, since, until, why, link }) {
  const path = pathOf(link);
  return h(
    "div",
    { class: "notice", role: "status" },
    h("span", {}, h("strong", {}, `A ${kind} waits for an approval`), ", requested ", when(since), `: ${why}. Without an answer it is rejected `, when(until), "."),
    path ? outward(h("a", { class: "button" }, "Read the plan and answer"), path) : null,
  );
}

const fact = (name, value, ...under) => h("div", {}, h("dt", {}, name), h("dd", {}, h("span", { class: "value" }, value), h("span", { class: "under" }, under)));

function actions() {
  const dag = outward(h("a", { class: "button" }, "DAG"), `dags/${encodeURIComponent(DEPLOY)}`);
  if (!answer.may_trigger) return h("div", { class: "actions" }, h("span", { class: "quiet" }, "read only"), dag);
  const rests = ["suspended", "suspending"].includes(view.phase);
  return h(
    "div",
    { class: "actions" },
    button("Redeploy", "main", () => deploy("Redeploy", { operation: "deploy", reason: null }, "Deploys the present code and deployment file; the plan is its first task. Settings of the job can be changed for it.")),
    rests
      ? button("Resume", "", () => deploy("Resume", { operation: "resume", reason: null }, "Starts the job from the savepoint that it stopped with."))
      : view.phase ? button("Suspend", "", () => deploy("Suspend", { operation: "suspend", reason: null }, "Stops the job with a savepoint; “Resume” starts it from there.", true)) : null,
    dag,
  );
}

const button = (words, kind, press) => h("button", { type: "button", class: kind, onclick: press }, words);
const deploy = (title, values, words, danger = false) => openForm({ dag: DEPLOY, title: `${title} ${NAME}`, values, words, danger });

/* Timelines. */

const plots = h("div", { class: "charts" });
const ends = {
  since: h("input", { type: "datetime-local", id: "since" }),
  until: h("input", { type: "datetime-local", id: "until" }),
};
const events = h("div");
const hint = h("p", { class: "quiet" });
const spans = SPANS.map(([words, hours]) => h("button", { type: "button", class: "span", onclick: () => choose({ hours, since: null, until: null }) }, words));
const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16);
const seconds = (input) => Date.parse(`${input.value}Z`) / 1000;
// A range that the user has chosen: the periodic update keeps it.
let isChosen = false;
const charts = new Charts(plots, (since, until) => {
  isChosen = true;
  ends.since.value = moment(since);
  ends.until.value = moment(until);
});
for (const input of Object.values(ends)) input.addEventListener("input", () => (isChosen = true));

function choose(given) {
  Object.assign(span, given);
  isChosen = false;
  const address = new URLSearchParams(location.search);
  address.set("hours", String(span.hours));
  history.replaceState(null, "", `?${address}`);
  timeline(true).catch((error) => fill(hint, error.message));
}

function frame() {
  const show = button("Show", "", () => {
    const [since, until] = [seconds(ends.since), seconds(ends.until)];
    if (Number.isFinite(since) && until > since) choose({ since, until });
    else fill(hint, "From and To must be dates with times, From the earlier one.");
  });
  const replay = button("Backfill this range", "", () =>
    openForm({
      dag: BACKFILL,
      title: `Backfill ${NAME}`,
      values: { start: ends.since.value, end: ends.until.value, chunk: null, parallel: 1, output: "separate", reason: null },
      words: "Replays this range of event time through the job, beside the live one. Times are UTC.",
    }),
  );
  replay.id = "replay";
  replay.hidden = true; // until the DAG is known to exist
  fill(
    byId("times"),
    h("div", { class: "tools" }, h("div", { class: "spans", role: "group", "aria-label": "Span of time" }, spans), h("label", { for: "since" }, "From"), ends.since, h("label", { for: "until" }, "To"), ends.until, h("span", { class: "quiet" }, "UTC"), show, replay),
    hint,
    plots,
    events,
  );
}

// A day, or less if the job is younger.
function usualHours() {
  const oldest = view.releases.at(-1)?.created_at ?? 0;
  const age = (Date.now() / 1000 - oldest) / 3600;
  return SPANS.map(([, hours]) => hours).find((hours) => hours >= age || hours === 24);
}

let drawn = null;
async function timeline(anew = false) {
  const fixed = span.since !== null;
  // Whole minutes: requests within one minute are equal, and mostly have the same response.
  const now = Math.ceil(Date.now() / 60_000) * 60;
  const until = fixed ? span.until : now;
  const since = fixed ? span.since : until - span.hours * 3600;
  const found = await ask(address("timeline", { since: new Date(since * 1000).toISOString(), until: new Date(until * 1000).toISOString() }));
  spans.forEach((each, number) => each.setAttribute("aria-pressed", String(!fixed && SPANS[number][1] === span.hours)));
  const digest = JSON.stringify([found.at, found.marks, Math.round(found.since / 60), view?.limits]);
  if (!anew && (digest === drawn || charts.isDrawnOn)) return;
  drawn = digest;
  if (!isChosen) {
    ends.since.value = moment(found.since);
    ends.until.value = moment(found.until);
  }
  charts.show(found, view?.limits);
  const thinned = found.samples > found.at.length ? `; ${count(found.samples)} samples, shown by the worst of each group` : "";
  fill(hint, found.at.length ? `Times are UTC. Drag across a chart to choose a range${thinned}.` : "No sweep has checked the job in this range.");
  marks(found.marks);
}

function marks(found) {
  if (!found.length) return fill(events);
  const rows = [...found].reverse().map((mark) => h("tr", {}, h("td", {}, when(mark.at)), h("td", {}, exact(mark.at)), h("td", {}, h("span", { class: `dot ${mark.kind}` }), mark.words)));
  const open = events.querySelector("details")?.open ?? false;
  fill(events, h("details", { open }, h("summary", {}, found.length === 1 ? "1 event in this range" : `${count(found.length)} events in this range`), h("div", { class: "scroller", role: "region", tabindex: "0", "aria-label": "Events in this span" }, h("table", { class: "plain" }, h("caption", { class: "hidden" }, "Events in this span"), h("thead", {}, h("tr", {}, ["When", "Moment", "What"].map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows)))));
}

/* What a deploy would change. */

function desired() {
  const place = byId("desired");
  const { row } = view;
  const words = row.drift === null ? "The last sweep could not compare the job with its files." : row.drift ? "The last sweep found that the job differs from its files or settings." : "The last sweep found no difference from the files and settings.";
  const result = h("div");
  const compare = button("Compare with the files now", "", async () => {
    compare.disabled = true;
    fill(result, h("p", { class: "quiet" }, "Reading the files …"));
    try {
      const found = await askPatiently(address("desired"), (words) => fill(result, h("p", { class: "quiet", role: "status" }, words)));
      fill(result, h("p", { class: "quiet" }, `${found.old} against ${found.new}; a plan shows what happens to the state.`), showDifference(found, "No differences: a deploy would change nothing."));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      fill(result, h("p", { class: "refusal", role: "alert" }, error.message));
    } finally {
      compare.disabled = false;
    }
  });
  fill(place, h("p", {}, words), h("div", { class: "actions" }, view.releases.length ? compare : null, h("span", { class: "quiet" }, "The whole plan, without a deploy: ", h("code", {}, `sluice plan ${NAME}`))), result);
}

/* Tables. */

const FIGURES = new Set(["Took", "Downtime", "Records"]);
const table = (caption, titles, rows, nothing) =>
  rows.length
    ? h("div", { class: "scroller", role: "region", tabindex: "0", "aria-label": caption }, h("table", { class: "plain" }, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col", class: FIGURES.has(title) && "figure" }, title || h("span", { class: "hidden" }, "What can be done"))))), h("tbody", {}, rows)))
    : h("p", { class: "quiet" }, nothing);

function releases() {
  const rows = view.releases.flatMap((each, index) => {
    const before = view.releases[index + 1]?.number ?? 0;
    const place = h("td", { colspan: 6 });
    const line = h("tr", { class: "inner", hidden: true }, place);
    const differ = button(before ? `Diff to ${before}` : "Contents", "small", async () => {
      line.hidden = !line.hidden;
      differ.setAttribute("aria-expanded", String(!line.hidden));
      if (line.hidden || (place.childElementCount && !place.querySelector(".refusal"))) return;
      try {
        const found = await askPatiently(address("difference", { old: before, new: each.number }), (words) => fill(place, h("p", { class: "quiet", role: "status" }, words)));
        fill(place, showDifference(found, "Nothing that is recorded of them differs."));
      } catch (error) {
        fill(place, h("p", { class: "refusal", role: "alert" }, error.message));
      }
    });
    differ.setAttribute("aria-expanded", "false");
    const back = answer.may_trigger && !each.runs && each.healthy_at !== null && view.phase ? button("Roll back to this", "small", () => deploy(`Roll back to release ${each.number} of`, { operation: "rollback", to_release: each.number, reason: null }, "Runs that release's code and settings again, from the state of now.", true)) : null;
    const given = Object.entries(each.overrides).map(([name, value]) => h("code", { class: "given" }, `${name}=${JSON.stringify(value)}`));
    return [
      h("tr", {}, h("th", { scope: "row" }, String(each.number), each.runs ? h("span", { class: "badge healthy" }, "runs") : null), h("td", {}, when(each.created_at)), h("td", {}, each.healthy_at ? when(each.healthy_at) : h("span", { class: "quiet" }, "never")), h("td", {}, h("code", { title: each.fingerprint }, each.fingerprint.slice(0, 12))), h("td", {}, given.length ? given : NOTHING), h("td", { class: "ends" }, differ, back)),
      line,
    ];
  });
  fill(byId("releases"), table("Releases, newest first", ["Release", "Entered", "Passed its gates", "Fingerprint", "Settings from a run", ""], rows, "No release yet."));
}

function operations() {
  const rows = view.operations.flatMap((each) => {
    const took = each.ended_at === null ? null : (each.ended_at - each.started_at) * 1000;
    const line = h("tr", { class: "inner", hidden: true }, h("td", { colspan: 8 }, stages(each)));
    const more = button("Stages", "small", () => {
      line.hidden = !line.hidden;
      more.setAttribute("aria-expanded", String(!line.hidden));
    });
    more.setAttribute("aria-expanded", "false");
    const way = each.former_release === null || each.former_release === each.release ? String(each.release) : `${each.former_release} → ${each.release}`;
    return [
      h("tr", {}, h("th", { scope: "row" }, each.kind), h("td", {}, outcome(each.outcome)), h("td", {}, way), h("td", {}, when(each.started_at)), h("td", { class: "figure" }, duration(took)), h("td", { class: "figure" }, duration(each.downtime_ms)), h("td", { class: "words" }, each.reason ?? each.note ?? "", each.approved_by ? h("span", { class: "under" }, `approved by ${each.approved_by}`) : null), h("td", { class: "ends" }, more)),
      line,
    ];
  });
  fill(byId("operations"), table("Operations, newest first", ["Operation", "Outcome", "Release", "Began", "Took", "Downtime", "Reason", ""], rows, "No operation yet."));
}

function stages(each) {
  const whole = Math.max(1, ...each.stages.map((stage) => stage.began_at * 1000 + stage.ms)) - each.started_at * 1000;
  const facts = [
    ["plan", [each.action, each.category].filter(Boolean).join(", ")],
    ["hand-over", each.mode],
    ["held by", each.holder],
    ["approved by", each.approved_by],
    ["note", each.note],
    ["savepoint", each.savepoint],
    ["restored from", each.restored_from],
  ].filter(([, value]) => value);
  return [
    each.stages.length ? h("ol", { class: "stages" }, each.stages.map((stage) => {
      const bar = h("progress", { max: whole, value: Math.max(stage.ms, whole / 100), "aria-label": `${stage.stage} took ${duration(stage.ms)}` });
      return h("li", {}, h("span", { class: "name" }, stage.stage), bar, h("span", { class: "figure" }, duration(stage.ms)), h("span", { class: "quiet" }, stage.events.join(", ")));
    })) : h("p", { class: "quiet" }, "The journal has no entries: the operation changed nothing."),
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, h("code", {}, value))])),
  ];
}

function savepoints() {
  const rows = view.savepoints.map((each) => h("tr", {}, h("td", {}, when(each.taken_at)), h("td", {}, String(each.release)), h("td", {}, each.deleted_at ? h("span", { class: "quiet" }, "deleted ", when(each.deleted_at)) : each.in_use ? h("span", { class: "badge healthy" }, "in use") : "kept"), h("td", { class: "words" }, h("code", {}, each.path))));
  fill(byId("savepoints"), table("Savepoints, newest first", ["Taken", "Release", "State", "Path"], rows, "No savepoint yet."));
}

function replays() {
  const rows = view.replays.map((each) => {
    const chunks = Object.entries(each.chunks).map(([state, number]) => `${number} ${state}`).join(", ");
    const range = [each.start, each.end].map((text) => text.replace("T", " ").replace(/(\+00:00|Z)$/, "")).join(" – ");
    return h("tr", {}, h("th", { scope: "row" }, h("code", {}, each.id.slice(0, 8))), h("td", {}, outcome(each.outcome)), h("td", {}, range), h("td", {}, String(each.release)), h("td", { class: "figure" }, count(each.records)), h("td", {}, chunks), h("td", {}, when(each.started_at)), h("td", {}, each.promoted_at ? when(each.promoted_at) : NOTHING));
  });
  fill(byId("replays"), table("Replays, newest first", ["Replay", "Outcome", "Range (UTC)", "Release", "Records", "Chunks", "Began", "Promoted"], rows, "No replay yet."));
}

/* Keeping it right. */

const PARTS = [
  [["row", "overrides", "phase", "limits", "flink_job_id"], head],
  [["row", "releases"], desired],
  [["releases", "phase"], releases],
  [["operations"], operations],
  [["savepoints"], savepoints],
  [["replays"], replays],
];

async function refresh() {
  const found = await ask(address("job"));
  if (found !== answer) {
    const before = view;
    answer = found;
    view = found.job;
    for (const [names, draw] of PARTS) {
      // Unchanged sections keep their elements, and with them the details that the user has opened.
      const same = before && names.every((name) => JSON.stringify(before[name]) === JSON.stringify(view[name]));
      const quiet = draw === desired && before && before.row.drift === view.row.drift && before.releases.length === view.releases.length;
      if (!same && !quiet) draw();
    }
    byId("replay").hidden = !found.may_replay;
  }
  span.hours ??= usualHours();
  await timeline();
  refreshMoments();
}

frame();
followNavigation();
live(refresh);
