/** A chart's marks and the ends of its scale as plain SVG: there at once, until plotly has started and draws it all. */
import { s } from "./dom.js";

const EDGE = { left: 60, right: 12, top: 28, bottom: 32 };

/**
 * @typedef {{x: any[], y: (number|null)[], type?: string, marker?: any, line?: any}} Trace
 * @param {Trace[]} traces in real colours: lines, or bars that are stacked
 * @param {any} layout plotly's, as far as scales go
 * @param {{width: number, height: number}} size pixels
 */
export function sketch(traces, layout, { width, height }) {
  const stacked = stackedBars(traces);
  const across = scale(traces.flatMap((one) => one.x.map(position)), layout.xaxis, [EDGE.left, width - EDGE.right]);
  const up = scale(stacked.flatMap((one) => one.tops).filter((one) => one !== null), layout.yaxis, [height - EDGE.bottom, EDGE.top]);
  if (!across || !up) return null;
  return s("svg", { class: "sketch", width, height, "aria-hidden": "true" },
    ...labels(up, layout.yaxis, width, layout.font?.color), ...stacked.flatMap((one) => (one.trace.type === "bar" ? bars(one, across, up) : line(one, across, up))));
}

/** Each trace with the height of its marks; a bar begins where the one before ends. @param {Trace[]} traces */
function stackedBars(traces) {
  /** @type {number[]} */
  const sums = [];
  return traces.map((trace) => {
    if (trace.type !== "bar") return { trace, tops: trace.y, floors: [] };
    const floors = trace.y.map((_, index) => sums[index] ?? 0);
    const tops = trace.y.map((value, index) => (sums[index] = (sums[index] ?? 0) + (value ?? 0)));
    return { trace, tops, floors };
  });
}

/** @param {any} x a number, or a moment as text */
const position = (x) => (typeof x === "number" ? x : Date.parse(x));

/** From values to pixels; null where there is nothing to draw. @param {any[]} values @param {any} axis @param {number[]} pixels */
function scale(values, axis, pixels) {
  const log = axis?.type === "log";
  const known = values.filter((one) => Number.isFinite(one) && (!log || one > 0));
  if (!known.length) return null;
  const bend = (/** @type {number} */ value) => (log ? Math.log10(value) : value);
  const floor = !log && axis?.rangemode === "tozero" ? 0 : Infinity;
  const [low, high] = axis?.range && !log ? axis.range : [Math.min(floor, ...known), Math.max(...known)];
  const width = bend(high) - bend(low) || 1;
  const at = (/** @type {number} */ value) => pixels[0] + ((bend(value) - bend(low)) / width) * (pixels[1] - pixels[0]);
  return { at, low, high };
}

/** @param {any} up @param {any} axis @param {number} width @param {string} [ink] */
function labels(up, axis, width, ink) {
  const ends = axis?.tickvals ? axis.tickvals.filter((/** @type {number} */ one) => one >= up.low && one <= up.high) : [up.low, up.high];
  return ends.flatMap((/** @type {number} */ value) => {
    const text = axis?.ticktext?.[axis.tickvals.indexOf(value)] ?? (axis?.tickformat?.includes("%") ? `${Math.round(Math.min(value, 1) * 100)}%` : value.toLocaleString("en"));
    return [s("line", { x1: EDGE.left, x2: width - EDGE.right, y1: up.at(value), y2: up.at(value), stroke: axis?.gridcolor ?? "none" }),
      s("text", { x: EDGE.left - 8, y: up.at(value) + 4, "text-anchor": "end", "font-size": 12, fill: ink ?? "currentColor" }, text)];
  });
}

/** @param {any} one @param {any} across @param {any} up */
function bars({ trace, tops, floors }, across, up) {
  const step = trace.x.length > 1 ? across.at(position(trace.x[1])) - across.at(position(trace.x[0])) : 8;
  return trace.x.flatMap((/** @type {any} */ x, /** @type {number} */ index) => (trace.y[index] ? [s("rect", {
    x: across.at(position(x)) - step * 0.42, width: Math.max(1, step * 0.85), y: up.at(tops[index]), height: up.at(floors[index]) - up.at(tops[index]), fill: trace.marker.color,
  })] : []));
}

/** A line breaks where there is no value; a single value is a dot. @param {any} one @param {any} across @param {any} up */
function line({ trace, tops }, across, up) {
  /** @type {string[][]} */
  const pieces = [[]];
  trace.x.forEach((/** @type {any} */ x, /** @type {number} */ index) => {
    if (tops[index] === null || tops[index] === undefined) pieces.push([]);
    else pieces[pieces.length - 1].push(`${across.at(position(x)).toFixed(1)},${up.at(tops[index]).toFixed(1)}`);
  });
  const stroke = trace.line?.color ?? trace.marker?.color;
  return pieces.filter((piece) => piece.length).map((piece) => (piece.length > 1
    ? s("polyline", { points: piece.join(" "), fill: "none", stroke, "stroke-width": 2, "stroke-dasharray": trace.line?.dash === "dot" ? "2 3" : null })
    : s("circle", { cx: piece[0].split(",")[0], cy: piece[0].split(",")[1], r: 2.5, fill: stroke })));
}
