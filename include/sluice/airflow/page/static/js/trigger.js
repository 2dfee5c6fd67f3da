// The form of a DAG's parameters, with values filled in; it starts an ordinary run of the DAG.
//
// The parameters come from Airflow's public API, and Airflow checks the values and the permissions.
import { fill, h } from "./dom.js";
import { reach, reason, Refused } from "./live.js";
import { leave, outward, ROOT } from "./airflow.js";

const API = new URL("api/v2/", ROOT);

async function call(path, method = "GET", body = undefined) {
  const response = await reach(new URL(path, API), {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response.json();
}

/** Open the form. `values`: initial values by the parameters' names; these parameters come first. */
export async function openForm({ dag, title, words, values, danger = false }) {
  const dialog = h("dialog", { class: "form", "aria-labelledby": "form-title" });
  const body = h("div", {}, h("p", { class: "quiet" }, "Loading the parameters from Airflow …"));
  const close = h("button", { type: "button", class: "plain", onclick: () => dialog.close(), "aria-label": "Close" }, "✕");
  dialog.append(h("header", {}, h("h2", { id: "form-title" }, title), close), body);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    const details = await call(`dags/${encodeURIComponent(dag)}/details`);
    fill(body, form({ dag, words, values, danger, details, dialog }));
    body.querySelector("input, select, textarea")?.focus();
  } catch (error) {
    fill(body, h("p", { class: "refusal", role: "alert" }, error.message));
  }
}

function form({ dag, words, values, danger, details, dialog }) {
  const fields = Object.entries(details.params).map(([name, param]) => new Field(name, param, values));
  const refusal = h("p", { class: "refusal", role: "alert", hidden: true });
  const unpause = details.is_paused ? h("input", { type: "checkbox", checked: true, id: "unpause" }) : null;
  const submit = h("button", { type: "submit", class: danger ? "danger" : "main" }, "Trigger");
  const filled = fields.filter((field) => field.isGiven);
  const sections = Map.groupBy ? Map.groupBy(fields.filter((field) => !field.isGiven), (field) => field.section) : group(fields.filter((field) => !field.isGiven));
  const own = outward(h("a", {}, "the DAG in Airflow"), `dags/${encodeURIComponent(dag)}`);
  const element = h(
    "form",
    { novalidate: true },
    words ? h("p", {}, words) : null,
    filled.map((field) => field.element),
    [...sections].map(([name, those]) => h("details", {}, h("summary", {}, name), those.map((field) => field.element))),
    unpause ? h("label", { class: "tick" }, unpause, "Unpause the DAG: a run of a paused DAG stays queued") : null,
    refusal,
    h("footer", {}, h("span", { class: "quiet" }, "A run of ", own), h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Cancel"), submit),
  );
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    refusal.hidden = true;
    try {
      const conf = Object.fromEntries(fields.map((field) => [field.name, field.read()]).filter(([, value]) => value !== undefined));
      if (unpause?.checked) await call(`dags/${encodeURIComponent(dag)}?update_mask=is_paused`, "PATCH", { is_paused: false });
      const run = await call(`dags/${encodeURIComponent(dag)}/dagRuns`, "POST", { logical_date: null, conf });
      leave(`dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(run.dag_run_id)}`);
    } catch (error) {
      refusal.textContent = error.message;
      refusal.hidden = false;
      submit.disabled = false;
    }
  });
  return element;
}

function group(fields) {
  const found = new Map();
  for (const field of fields) found.set(field.section, [...(found.get(field.section) ?? []), field]);
  return found;
}

// A parameter: its control and its value.
class Field {
  constructor(name, param, values) {
    const { schema = {}, value = null, description = null } = param;
    this.name = name;
    this.schema = schema;
    this.types = [schema.type ?? "string"].flat();
    this.before = value;
    this.isGiven = Object.hasOwn(values, name);
    this.section = schema.section ?? "More";
    const given = this.isGiven ? values[name] : value;
    this.control = this.#control(given);
    const label = schema.title ?? name;
    const hint = description ?? schema.description;
    const below = hint ? h("span", { class: "quiet", id: `hint-${name}` }, hint) : null;
    if (below) this.control.setAttribute("aria-describedby", `hint-${name}`);
    this.element = this.types.includes("boolean")
      ? h("div", { class: "field" }, h("label", { class: "tick" }, this.control, label), below)
      : h("div", { class: "field" }, h("label", { for: this.control.id }, label), this.control, below);
  }

  #control(given) {
    const id = `param-${this.name}`;
    const text = given === null || given === undefined ? "" : typeof given === "object" ? JSON.stringify(given) : String(given);
    if (this.schema.enum) return h("select", { id, name: this.name }, this.schema.enum.map((each) => h("option", { value: each, selected: each === given }, String(each))));
    if (this.types.includes("boolean")) return h("input", { id, name: this.name, type: "checkbox", checked: given === true });
    if (this.schema.format === "multiline") {
      const area = h("textarea", { id, name: this.name, rows: 2 });
      area.value = text;
      return area;
    }
    if (this.schema.format === "date-time") return h("input", { id, name: this.name, type: "datetime-local", step: 1, value: text.slice(0, 19) });
    const numeric = this.types.includes("integer") || this.types.includes("number");
    return h("input", { id, name: this.name, type: numeric ? "number" : "text", step: this.types.includes("integer") ? 1 : "any", value: text, min: this.schema.minimum, max: this.schema.maximum, autocomplete: "off", spellcheck: "false" });
  }

  // The value to send; undefined: it is unchanged and not sent.
  read() {
    const value = this.#value();
    return JSON.stringify(value) === JSON.stringify(this.before) ? undefined : value;
  }

  #value() {
    if (this.types.includes("boolean")) return this.control.checked;
    const text = this.control.value.trim();
    if (text === "") return this.types.includes("null") ? null : this.before;
    if (this.schema.format === "date-time") return `${text.length === 16 ? `${text}:00` : text}+00:00`;
    if (this.types.includes("integer") || this.types.includes("number")) return Number(text);
    if (this.types.includes("array")) return text.startsWith("[") ? JSON.parse(text) : text.split(",").map((each) => each.trim());
    return text;
  }
}
