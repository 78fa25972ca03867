// Score against cost.
import {chosen, measureIndex, measureOf, swatch, type App} from "./app";
import {frame, path} from "./charts";
import {h, svg} from "./dom";
import {fixed, shown} from "./stats";
import {legend, nothing, colour, wide, note, scrolling} from "./parts";

export function cost(app: App): Node[] {
  const {study} = app,
    main = measureIndex(app),
    measure = measureOf(app),
    at = study.measures.findIndex(m => m.alias === "cost");
  const all = study.configurations.flatMap(c => {
    const x = c.scores[at]?.value,
      y = c.scores[main]?.value;
    return x === undefined || y === undefined ? [] : [{c, x, y}];
  });
  if (!measure || at < 0 || at === main || !all.length)
    return [nothing("Cost and score are not both measured; choose another score.")];
  const better = (a: number, b: number) => (a - b) * (measure.better || 1);
  const front = all
    .filter(p => !all.some(o => o !== p && o.x <= p.x && better(o.y, p.y) >= 0 && (o.x < p.x || better(o.y, p.y) > 0)))
    .sort((a, b) => a.x - b.x);
  const bounds = (v: number[]): [number, number] => {
    const low = Math.min(...v),
      high = Math.max(...v),
      pad = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - pad, high + pad];
  };
  const {box, x, y} = frame(
    `${measure.name} against cost`,
    "seconds of drawing for each accepted image",
    bounds(all.map(p => p.x)),
    bounds(all.map(p => p.y)),
    wide(720),
    340,
  );
  box.append(svg("path", {class: "front", d: path(front.map(p => [x(p.x), y(p.y)] as const))}));
  for (const p of all)
    box.append(
      svg(
        "g",
        {"data-c": p.c.index, class: `series ${colour(app, p.c)}`},
        svg("title", {}, `${p.c.name}: ${fixed(p.y, measure.digits)} at ${fixed(p.x, 2)} s`),
        svg("circle", {class: "dot", cx: x(p.x), cy: y(p.y), r: 5}),
      ),
    );
  const rows = front.map(p =>
    h(
      "tr",
      {"data-c": p.c.index},
      h("th", {scope: "row"}, swatch(app, p.c), p.c.name),
      h("td", {}, `${fixed(p.x, 2)} s for each accepted image`),
      h("td", {}, shown(p.c.scores[main], measure.digits)),
    ),
  );
  return [
    h("h3", {}, `${measure.name} against cost`),
    note(`A point is a configuration. The line joins those that no other beats in both cost and ${measure.name}.`),
    legend(app, chosen(app)),
    scrolling("Cost and score", box),
    h("h3", {}, "Beaten by none in both"),
    scrolling("Beaten by none in both", h("table", {class: "plain-table", id: "front"}, h("tbody", {}, ...rows))),
  ];
}
