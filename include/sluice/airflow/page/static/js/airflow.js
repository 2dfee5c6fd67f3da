// The surrounding Airflow: its address, and links from the page to it.

/** Airflow's own address; the page is one path segment below it. */
export const ROOT = new URL("../", new URL("./", location.href)).href;

/**
 * Go to one of Airflow's pages.
 *
 * The frame that Airflow gives a page may not lead its surroundings elsewhere, but shares their document: a link of theirs may.
 */
export function leave(path, { apart = false } = {}) {
  const view = parent === window ? window : parent;
  const link = view.document.createElement("a");
  link.href = ROOT + path;
  if (apart) {
    link.target = "_blank";
    link.rel = "noopener";
  }
  view.document.body.append(link);
  link.click();
  link.remove();
}

/** The path of an Airflow link to a run, below any of Airflow's addresses; null: it is no link to a run. */
export const pathOf = (link) => link?.match(/\/(dags\/[^/]+\/runs\/.+)$/)?.[1] ?? null;

/** Make a link to one of Airflow's pages, which also leaves Airflow's frame. */
export function outward(link, path) {
  link.href = ROOT + path;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    leave(path, { apart: event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1 });
  });
  return link;
}

/**
 * Back to the page of all jobs when a user opens it in Airflow's navigation.
 *
 * Airflow considers the page open already, whatever its frame shows, and doesn't change the frame.
 */
export function followNavigation() {
  if (parent === window) return;
  const entry = new URL("plugin/fleet", ROOT).pathname;
  const here = new AbortController();
  addEventListener("pagehide", () => here.abort());
  const follow = (event) => {
    const apart = event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
    if (!apart && event.target.closest("a[href]")?.pathname === entry) location.replace("./");
  };
  parent.document.addEventListener("click", follow, { signal: here.signal });
}
