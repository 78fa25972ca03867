// How losses and score went over the training steps.
import {chosen, swatch, type App} from "./app";
import {lines, type Line} from "./charts";
import {type Configuration} from "./data";
import {h} from "./dom";
import {fixed} from "./stats";
import {filmstrip} from "./filmstrip";
import {legend, nothing, colour, wide, note} from "./parts";

export function curve(c: Configuration, kind: number): {points: [number, number][]; band: [number, number, number][]} {
  const at = new Map<number, number[]>();
  for (const t of c.trials) for (const [step, value] of t.curves[kind] ?? []) at.set(step, [...(at.get(step) ?? []), value]);
  const steps = [...at.keys()].sort((a, b) => a - b),
    mean = (v: readonly number[]) => v.reduce((x, y) => x + y, 0) / v.length;
  return {
    points: steps.map(s => [s, mean(at.get(s) ?? [])]),
    band: steps.map(s => [s, Math.min(...(at.get(s) ?? [])), Math.max(...(at.get(s) ?? []))]),
  };
}

export function training(app: App): Node[] {
  const list = chosen(app),
    found: Node[] = [legend(app, list)],
    charts = h("div", {class: "charts"});
  app.study.curves.forEach((name, kind) => {
    const all = list.map(c => ({c, ...curve(c, kind)})).filter(x => x.points.length);
    if (!all.length) return;
    const drawn = all.map(({c, points, band}): Line => ({
      colour: colour(app, c),
      name: c.name,
      configuration: c.index,
      points,
      ...(c.seeds.length > 1 ? {band} : {}),
    }));
    const rows = all.map(({c, points}) => {
      const first = points[0],
        last = points.at(-1);
      return h(
        "tr",
        {"data-c": c.index},
        h("th", {scope: "row"}, swatch(app, c), c.name),
        h("td", {}, first && last ? `${fixed(first[1], 3)} at step ${first[0]} → ${fixed(last[1], 3)} at step ${last[0]}` : ""),
      );
    });
    charts.append(
      h(
        "figure",
        {class: "curve"},
        h("h3", {}, name),
        lines(
          `${name} by training step; the first and last values are in the table below`,
          "training step",
          drawn,
          wide(520),
          260,
        ),
        h("table", {class: "plain-table"}, h("tbody", {}, ...rows)),
      ),
    );
  });
  const film = filmstrip(app, list);
  if (!charts.childElementCount && !film.length) return [...found, nothing("These trials left no record of their training.")];
  return [...found, note("Mean over the seeds; the band spans all of them."), charts, ...film];
}
