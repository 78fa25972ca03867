import {svg} from "./dom";
import {fixed, ticks} from "./stats";

export type Line = {
  colour: string;
  name: string;
  configuration: number;
  points: [number, number][];
  band?: [number, number, number][];
};

const digitsOf = (step: number): number => Math.max(0, Math.min(6, -Math.floor(Math.log10(step || 1))));

export function labels(values: readonly number[]): string[] {
  const step = values.length > 1 ? Math.abs((values[1] ?? 0) - (values[0] ?? 0)) : 1;
  return values.map(v => (Math.abs(v) >= 1e5 ? v.toExponential(0) : fixed(v, digitsOf(step))));
}

export type Frame = {box: SVGSVGElement; x: (v: number) => number; y: (v: number) => number};

/** An empty plot with axes; `wide` and `high` in pixels. */
export function frame(
  title: string,
  xTitle: string,
  [x0, x1]: [number, number],
  [y0, y1]: [number, number],
  wide: number,
  high: number,
): Frame {
  const left = 52,
    right = 14,
    top = 10,
    bottom = 40;
  const x = (v: number) => left + (x1 === x0 ? 0.5 : (v - x0) / (x1 - x0)) * (wide - left - right);
  const y = (v: number) => high - bottom - (y1 === y0 ? 0.5 : (v - y0) / (y1 - y0)) * (high - top - bottom);
  const box = svg("svg", {
    class: "plot",
    width: wide,
    height: high,
    viewBox: `0 0 ${wide} ${high}`,
    role: "img",
    "aria-label": title,
  });
  const xs = ticks(x0, x1, Math.max(2, wide / 90)),
    ys = ticks(y0, y1, Math.max(2, high / 50)),
    yWords = labels(ys),
    xWords = labels(xs);
  ys.forEach((v, i) =>
    box.append(
      svg("line", {class: "grid", x1: left, x2: wide - right, y1: y(v), y2: y(v)}),
      svg("text", {x: left - 7, y: y(v) + 4, "text-anchor": "end"}, yWords[i] ?? ""),
    ),
  );
  xs.forEach((v, i) => box.append(svg("text", {x: x(v), y: high - bottom + 17, "text-anchor": "middle"}, xWords[i] ?? "")));
  box.append(
    svg("line", {class: "axis", x1: left, x2: wide - right, y1: high - bottom, y2: high - bottom}),
    svg("text", {x: (left + wide - right) / 2, y: high - 5, "text-anchor": "middle", class: "title"}, xTitle),
  );
  return {box, x, y};
}

export const path = (points: readonly (readonly [number, number])[]): string =>
  points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

export function lines(title: string, xTitle: string, all: readonly Line[], wide: number, high: number): SVGSVGElement {
  const points = all.flatMap(l => [
    ...l.points,
    ...(l.band ?? []).flatMap(([x, low, up]): [number, number][] => [
      [x, low],
      [x, up],
    ]),
  ]);
  const xs = points.map(p => p[0]),
    ys = points.map(p => p[1]),
    low = Math.min(...ys),
    up = Math.max(...ys),
    pad = (up - low || 1) * 0.05;
  const {box, x, y} = frame(title, xTitle, [Math.min(...xs), Math.max(...xs)], [low - pad, up + pad], wide, high);
  for (const l of all) {
    const group = svg("g", {"data-c": l.configuration, class: `series ${l.colour}`}, svg("title", {}, l.name));
    if (l.band && l.band.length > 1)
      group.append(
        svg("path", {
          class: "band",
          d: `${path([...l.band.map(([a, b]) => [x(a), y(b)] as const), ...[...l.band].reverse().map(([a, , b]) => [x(a), y(b)] as const)])}Z`,
        }),
      );
    group.append(svg("path", {class: "line", d: path(l.points.map(([a, b]) => [x(a), y(b)] as const))}));
    if (l.points.length < 40)
      for (const [a, b] of l.points) group.append(svg("circle", {class: "dot", cx: x(a), cy: y(b), r: 2.8}));
    box.append(group);
  }
  return box;
}

/** A value with its interval on an axis from `low` to `high`. */
export function range(
  value: number,
  from: number | null,
  to: number | null,
  [low, high]: [number, number],
  wide: number,
  colour: string,
): SVGSVGElement {
  const x = (v: number) => 4 + ((Math.min(high, Math.max(low, v)) - low) / (high - low || 1)) * (wide - 8);
  const box = svg("svg", {class: `whisker ${colour}`, width: wide, height: 18, viewBox: `0 0 ${wide} 18`, "aria-hidden": "true"});
  if (low < 0 && high > 0) box.append(svg("line", {class: "base", x1: x(0), x2: x(0), y1: 0, y2: 18}));
  if (from !== null && to !== null) box.append(svg("line", {class: "range", x1: x(from), x2: x(to), y1: 9, y2: 9}));
  box.append(svg("circle", {class: "dot", cx: x(value), cy: 9, r: 4}));
  return box;
}
