// A job's timelines: one chart for each kind of figure, all with marks of the job's operations.
/* global uPlot */
import { h } from "./dom.js";
import { compact, count, duration, exact, rate } from "./format.js";

const HEIGHT = 190;
const SYNC = "sluice";
const font = () => getComputedStyle(document.body).fontFamily;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const KINDS = [
  {
    title: "Consumer lag",
    unit: "records",
    series: [{ name: "lag", from: "consumer_lag", colour: "line-1" }],
    tick: compact,
    format: count,
    limit: (limits) => limits?.consumer_lag,
  },
  {
    title: "Watermark lag",
    unit: "wall clock less watermark",
    series: [{ name: "watermark lag", from: "watermark_lag_ms", colour: "line-2" }],
    tick: duration,
    format: duration,
    limit: (limits) => limits?.watermark_lag_ms,
    time: true,
  },
  {
    title: "Throughput",
    unit: "records per second",
    series: [
      { name: "in", from: "records_in_per_s", colour: "line-1" },
      { name: "out", from: "records_out_per_s", colour: "line-3" },
    ],
    tick: compact,
    format: rate,
  },
  {
    title: "Checkpoints",
    unit: "age and duration of the newest",
    series: [
      { name: "age", from: "checkpoint_age_ms", colour: "line-2" },
      { name: "duration", from: "checkpoint_duration_ms", colour: "line-3" },
    ],
    tick: duration,
    format: duration,
    limit: (limits) => limits?.checkpoint_age_ms,
    time: true,
  },
];
// Steps of an axis of milliseconds: 1, 2, 5 … ms and s, then minutes, hours, days.
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 12096e5, 24192e5];

/** The charts of a timeline. `chosen` is called with the ends of a range that a user selects in one, in Unix seconds. */
export class Charts {
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    this.plots = [];
    this.isDrawnOn = false;
    place.addEventListener("mousedown", () => (this.isDrawnOn = true));
    addEventListener("mouseup", () => (this.isDrawnOn = false));
    new ResizeObserver(() => this.#resize()).observe(place);
    addEventListener("theme", () => this.timeline && this.show(this.timeline, this.limits));
  }

  show(timeline, limits) {
    this.timeline = timeline;
    this.limits = limits;
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
    this.place.replaceChildren();
    for (const kind of KINDS) this.#draw(kind);
  }

  #width() {
    const columns = this.place.clientWidth > 900 ? 2 : 1;
    return Math.max(240, Math.floor((this.place.clientWidth - (columns - 1) * 24) / columns));
  }

  #resize() {
    for (const plot of this.plots) if (plot.width !== this.#width()) plot.setSize({ width: this.#width(), height: HEIGHT });
  }

  #draw(kind) {
    const { timeline } = this;
    const limit = kind.limit?.(this.limits);
    const legend = h("p", { class: "legend" });
    const canvas = h("div", { class: "plot", role: "img", "aria-label": this.#words(kind) });
    const figure = h("figure", { class: "chart" }, h("figcaption", {}, h("strong", {}, kind.title), h("span", { class: "quiet" }, ` ${kind.unit}`)), legend, canvas);
    this.place.append(figure);
    const known = kind.series.flatMap((each) => timeline[each.from].filter((value) => value !== null));
    const most = Math.max(0, ...known);
    const top = limit !== undefined && limit !== null && most > limit / 3 ? Math.max(most, limit) : most;
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: `11px ${font()}` };
    const options = {
      width: this.#width(),
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { sync: { key: SYNC, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: { x: { time: true, range: () => [timeline.since, timeline.until] }, y: { range: () => [0, top ? top * 1.08 : 1] } },
      axes: [
        { ...axis, space: 70, size: 42, gap: 9, values: times },
        { ...axis, size: 66, space: 28, values: (_plot, values) => values.map((value) => (known.length ? kind.tick(value) : "")), ...(kind.time ? { incrs: STEPS } : {}) },
      ],
      series: [{}, ...kind.series.map((each) => ({ label: each.name, stroke: colour(each.colour), width: 1.75, spanGaps: false, points: { show: timeline.at.length < 40, size: 4 } }))],
      hooks: {
        drawClear: [(plot) => bands(plot, timeline.verdicts)],
        draw: [(plot) => drawMarks(plot, timeline.marks), (plot) => drawLimit(plot, limit, top)],
        setCursor: [(plot) => tellCursor(plot, kind, legend, timeline)],
        setSelect: [
          (plot) => {
            if (plot.select.width < 4) return;
            const at = (x) => plot.posToVal(x, "x");
            this.chosen(at(plot.select.left), at(plot.select.left + plot.select.width));
          },
        ],
      },
    };
    const plot = new uPlot(options, [timeline.at, ...kind.series.map((each) => timeline[each.from])], canvas);
    tellCursor(plot, kind, legend, timeline);
    this.plots.push(plot);
  }

  #words(kind) {
    const parts = kind.series.map((each) => {
      const values = this.timeline[each.from].filter((value) => value !== null);
      if (!values.length) return `${each.name}: nothing known`;
      return `${each.name}: last ${kind.format(values.at(-1))}, at most ${kind.format(Math.max(...values))}`;
    });
    return `${kind.title} over time. ${parts.join("; ")}.`;
  }
}

const pad = (value) => String(value).padStart(2, "0");

// Times of day, with the date where it changes.
function times(plot, values) {
  const step = values.length > 1 ? values[1] - values[0] : 60;
  const whole = step >= 86_400;
  let day = null;
  return values.map((value) => {
    const moment = new Date(value * 1000);
    const date = `${moment.toLocaleString("en", { month: "short", timeZone: "UTC" })} ${moment.getUTCDate()}`;
    const clock = `${pad(moment.getUTCHours())}:${pad(moment.getUTCMinutes())}${step < 60 ? `:${pad(moment.getUTCSeconds())}` : ""}`;
    const words = whole ? date : date === day ? clock : `${clock}\n${date}`;
    day = date;
    return words;
  });
}

function bands(plot, verdicts) {
  const { ctx, bbox } = plot;
  ctx.save();
  for (const span of verdicts) {
    if (span.verdict === "healthy" || span.verdict === "idle") continue;
    const left = Math.max(bbox.left, plot.valToPos(span.since, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(span.until, "x", true));
    if (right <= left) continue;
    ctx.fillStyle = colour(`band-${span.verdict}`);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

const MARKS = { deploy: "mark-deploy", resume: "mark-deploy", rollback: "mark-back", suspend: "quiet", verdict: "mark-verdict" };

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(mark.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(mark.outcome === "failed" && mark.kind !== "verdict" ? "mark-failed" : MARKS[mark.kind] ?? "quiet");
    ctx.lineWidth = ratio;
    ctx.setLineDash(mark.kind === "verdict" ? [2 * ratio, 3 * ratio] : []);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (mark.kind === "verdict") continue;
    // The direction: forward to a new release, or back to a former one.
    const side = mark.kind === "rollback" ? -1 : 1;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x + side * 7 * ratio, bbox.top + 4 * ratio);
    ctx.lineTo(x, bbox.top + 8 * ratio);
    ctx.fill();
  }
  ctx.restore();
}

function drawLimit(plot, limit, top) {
  if (limit === undefined || limit === null || limit > top) return;
  const { ctx, bbox } = plot;
  const y = plot.valToPos(limit, "y", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("limit");
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.font = `${10 * devicePixelRatio}px ${font()}`;
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  ctx.fillText("limit", bbox.left + 6 * devicePixelRatio, y - 2 * devicePixelRatio);
  ctx.restore();
}

// The figures under the pointer, or the newest, with the operations near them.
function tellCursor(plot, kind, legend, timeline) {
  const at = plot.cursor?.idx ?? null;
  const number = at ?? timeline.at.length - 1;
  if (number < 0) return legend.replaceChildren("no samples in this span");
  const parts = kind.series.map((each) =>
    h("span", { class: `key ${each.colour}` }, kind.series.length > 1 ? `${each.name} ` : "", h("strong", {}, kind.format(timeline[each.from][number]))),
  );
  const near = at === null ? [] : timeline.marks.filter((mark) => Math.abs(plot.valToPos(mark.at, "x") - plot.cursor.left) < 5);
  legend.replaceChildren(...parts, h("span", { class: "quiet" }, at === null ? "newest" : exact(timeline.at[number])), ...near.map((mark) => h("span", { class: "near" }, mark.words)));
}
