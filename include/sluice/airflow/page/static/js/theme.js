// Light or dark as Airflow around the page is; as the system is where there is no Airflow around it. Before the first paint.
(() => {
  const own = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let around = null;
  try {
    if (parent !== window) around = parent.document.documentElement;
  } catch {
    around = null; // another origin's
  }
  const take = () => {
    const names = around ? around.classList : null;
    const known = names && (names.contains("dark") || names.contains("light"));
    const dark = known ? names.contains("dark") : system.matches;
    const theme = dark ? "dark" : "light";
    if (own.dataset.theme === theme) return;
    own.dataset.theme = theme;
    dispatchEvent(new Event("theme"));
  };
  if (around) new MutationObserver(take).observe(around, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", take);
  own.classList.toggle("inside", Boolean(around));
  take();
})();
