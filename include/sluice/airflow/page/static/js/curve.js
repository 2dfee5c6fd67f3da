// A small curve within a line of text.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 72;
const HEIGHT = 20;

/** Values over time, from zero to the largest one; an unknown value is a gap. */
export function curve(values, label) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "curve");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const most = Math.max(1, ...values.filter((value) => value !== null));
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  const y = (value) => (HEIGHT - 1.5 - (Math.max(0, value) / most) * (HEIGHT - 3)).toFixed(1);
  let line = "";
  let pen = "M";
  values.forEach((value, number) => {
    if (value === null) {
      pen = "M";
      return;
    }
    line += `${pen}${(number * step).toFixed(1)} ${y(value)}`;
    pen = "L";
  });
  if (line) {
    const path = document.createElementNS(NS, "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  return svg;
}
