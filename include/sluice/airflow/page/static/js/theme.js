// Light or dark as Airflow around the page is, on its grounds; as the system is where there is no Airflow around it. Before the
// first paint.
(() => {
  const own = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let around = null;
  try {
    if (parent !== window) around = parent.document.documentElement;
  } catch {
    around = null; // another origin's
  }
  // Ours, by the names of Airflow's; a theme of one's own has other values for them.
  const GROUNDS = { page: "bg", card: "bg", raised: "bg-muted", line: "border-emphasized" };
  const ground = () => {
    const theirs = getComputedStyle(around);
    for (const [name, from] of Object.entries(GROUNDS)) {
      const value = theirs.getPropertyValue(`--chakra-colors-${from}`).trim();
      if (value) own.style.setProperty(`--${name}`, value);
    }
  };
  const take = () => {
    const names = around ? around.classList : null;
    const known = names && (names.contains("dark") || names.contains("light"));
    const dark = known ? names.contains("dark") : system.matches;
    const theme = dark ? "dark" : "light";
    if (own.dataset.theme === theme) return;
    own.dataset.theme = theme;
    if (around) ground();
    dispatchEvent(new Event("theme"));
  };
  if (around) new MutationObserver(take).observe(around, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", take);
  take();
})();
