// A difference: settings as a table, code as a unified diff.
import { h } from "./dom.js";

const asText = (value) => (value === null || value === undefined ? h("span", { class: "quiet" }, "not set") : typeof value === "string" ? value : JSON.stringify(value));

/** A difference as the server returns it. `nothing`: the text for an empty one. */
export function showDifference(difference, nothing) {
  const { settings, files, code } = difference;
  const parts = [];
  if (settings.length) {
    parts.push(
      h(
        "div",
        { class: "scroller", role: "region", tabindex: "0", "aria-label": "Settings that differ" },
        h(
          "table",
          { class: "plain" },
          h("caption", {}, "Settings"),
          h("thead", {}, h("tr", {}, ["Setting", difference.old, difference.new, "What it means"].map((title) => h("th", { scope: "col" }, title)))),
          h("tbody", {}, settings.map((each) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, each.path)), h("td", {}, h("code", { class: "minus" }, asText(each.old))), h("td", {}, h("code", { class: "plus" }, asText(each.new))), h("td", {}, h("span", { class: "quiet" }, each.why))))),
        ),
      ),
    );
  }
  parts.push(...files.map(file));
  if (code) parts.push(h("p", { class: "quiet" }, code));
  return parts.length ? parts : [h("p", { class: "quiet" }, nothing)];
}

function file(each) {
  const plus = each.lines.filter((line) => line.startsWith("+")).length;
  const minus = each.lines.filter((line) => line.startsWith("-")).length;
  return h(
    "details",
    { class: "file", open: each.lines.length <= 200 },
    h("summary", {}, h("code", {}, each.name), h("span", { class: "quiet" }, ` ${each.change} `), h("span", { class: "plus" }, `+${plus}`), " ", h("span", { class: "minus" }, `−${minus}`)),
    h("pre", { class: "diff", tabindex: "0", "aria-label": `Diff of ${each.name}` }, each.lines.map(lineOf)),
    each.left_out ? h("p", { class: "quiet" }, `${each.left_out} further lines are not shown`) : null,
  );
}

const CLASSES = { "+": "plus", "-": "minus", "@": "place" };

function lineOf(text) {
  return h("span", { class: `line ${CLASSES[text[0]] ?? ""}` }, `${text}\n`);
}
