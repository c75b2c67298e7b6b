"use strict";
// Elements without markup: names and texts of the data only ever become text nodes and attribute values.

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(text);
  return element;
}

const short = (value) => (value === null ? "–" : String(Number(value.toPrecision(3))));

// -- axes ------------------------------------------------------------------------------------------------------------

const WIDE = 340, HIGH = 190, LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 24;

function axes(svg, [x0, x1], [y0, y1]) {
  const x = (value) => LEFT + ((value - x0) / (x1 - x0 || 1)) * (WIDE - LEFT - RIGHT);
  const y = (value) => HIGH - BOTTOM - ((value - y0) / (y1 - y0 || 1)) * (HIGH - TOP - BOTTOM);
  for (const tick of ticks(y0, y1)) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(draw("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const tick of ticks(x0, x1)) {
    svg.append(draw("text", { x: x(tick), y: HIGH - 7, "text-anchor": "middle" }, short(tick)));
  }
  return { x, y };
}

function ticks(low, high) {
  const rough = (high - low) / 4;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

function chart(label, about) {
  const readout = make("span", { class: "quiet" });
  const svg = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": about });
  return { svg, readout, figure: make("figure", null, make("figcaption", null, make("b", null, label), readout), svg) };
}

// -- what is drawn ---------------------------------------------------------------------------------------------------

/** One column of the training log, a line for each run. */
function curveChart(label, runs) {
  const lines = runs.map(({ run, colour }) => ({
    colour,
    points: run.log[label].map((value, i) => [run.log.step?.[i] ?? i, value]).filter((point) => point[1] !== null),
  }));
  const xs = lines.flatMap((line) => line.points.map((point) => point[0]));
  const ys = lines.flatMap((line) => line.points.map((point) => point[1])).sort((a, b) => a - b);
  const cut = Math.floor(ys.length * 0.005); // the first steps of a training must not flatten all others
  const last = lines.map((line) => short(line.points.at(-1)[1])).join(", ");
  const { svg, readout, figure } = chart(label, `${label} over the steps, at last ${last}`);
  readout.textContent = last;
  const { x, y } = axes(svg, [Math.min(...xs), Math.max(...xs)], [ys[cut], ys[ys.length - 1 - cut]]);
  const clamp = (value) => Math.max(TOP, Math.min(HIGH - BOTTOM, y(value)));
  for (const { points, colour } of lines) {
    const path = points.map((point) => `${x(point[0]).toFixed(1)},${clamp(point[1]).toFixed(1)}`).join(" ");
    svg.append(draw("polyline", { class: `curve ${colour}`, points: path }));
    const [[step, value]] = points;
    if (points.length === 1) svg.append(draw("circle", { class: `curve ${colour}`, cx: x(step), cy: clamp(value), r: 3 }));
  }
  svg.addEventListener("pointermove", (event) => {
    const at = ((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth) * WIDE;
    const near = lines.map(({ points }) => points.reduce((a, b) => (Math.abs(x(b[0]) - at) < Math.abs(x(a[0]) - at) ? b : a)));
    readout.textContent = `step ${near[0][0]}: ${near.map((point) => short(point[1])).join(", ")}`;
  });
  svg.addEventListener("pointerleave", () => (readout.textContent = last));
  return figure;
}

/** Counts of one metric, with dashed lines where the means of model and baselines are. */
function histogramChart({ label, edges, counts, means }) {
  const about = Object.entries(means).map(([who, [mean]]) => `${who} ${short(mean)}`).join(", ");
  const { svg, figure } = chart(label, `Histogram of ${label}; means: ${about}`);
  const centres = Object.values(means).map((values) => values[0]);
  const span = [Math.min(edges[0], ...centres), Math.max(edges.at(-1), ...centres)];
  const { x, y } = axes(svg, span, [0, Math.max(...counts)]);
  counts.forEach((count, i) =>
    svg.append(
      draw("rect", { class: "bar", x: x(edges[i]), width: x(edges[i + 1]) - x(edges[i]), y: y(count), height: y(0) - y(count) })
    )
  );
  const rows = Object.entries(means).map(([who, [mean, deviation, count]], i) => {
    const colour = series(i);
    svg.append(draw("line", { class: `mark ${colour}`, x1: x(mean), x2: x(mean), y1: TOP, y2: y(0) }));
    const cells = [`${short(mean)} ± ${short(deviation)}`, String(count)].map((text) => make("td", null, text));
    return make("tr", null, make("td", null, key(colour), who), ...cells);
  });
  const head = make("tr", null, ...["mean", label, "images"].map((text) => make("th", { scope: "col" }, text)));
  figure.append(make("table", null, make("thead", null, head), make("tbody", null, ...rows)));
  return figure;
}

/** The class of the i-th colour. */
function series(i) {
  return `series-${i % 6}`;
}

function key(colour) {
  return make("span", { class: `key ${colour}` });
}
