// How a search by Optuna went: the score of each of its trials, what was pruned and when, and which settings mattered.
import {swatch, type App} from "./app";
import {frame, path, type Frame} from "./charts";
import {type RawSearch} from "./data";
import {h, svg} from "./dom";
import {fixed} from "./stats";
import {colour, note, nothing, scrolling, wide} from "./parts";

export type Point = {
  number: number;
  state: string;
  values: (number | null)[];
  reason: string;
  settings: string;
  configuration: number;
};
const DIGITS = 3;

export const pointsOf = (search: RawSearch): Point[] =>
  search.points.map(([number, state, values, reason, settings, configuration]) => ({
    number,
    state,
    values,
    reason,
    settings,
    configuration,
  }));

/** The trials that were better than all before them, in their order. */
export function records(points: readonly Point[], objective: number, better: 1 | -1): {point: Point; value: number}[] {
  const found: {point: Point; value: number}[] = [];
  for (const point of points) {
    const value = point.values[objective],
      best = found.at(-1)?.value;
    if (point.state === "done" && typeof value === "number" && (best === undefined || (value - best) * better > 0))
      found.push({point, value});
  }
  return found;
}

export function search(app: App): Node[] {
  const found = app.study.search;
  if (!found) return [nothing("This study is no search.")];
  if (found.note) return [nothing(found.note)];
  const points = pointsOf(found);
  return [
    note(counts(points)),
    ...found.objectives.flatMap(([name, better], i) => history(app, points, i, name, better)),
    ...unfinished(app, points),
    ...importance(found),
  ];
}

/** "12 trials: 8 done, 4 pruned". */
function counts(points: readonly Point[]): string {
  const states = [...new Set(points.map(p => p.state))];
  return `${points.length} trials: ${states.map(s => `${points.filter(p => p.state === s).length} ${s}`).join(", ")}`;
}

function history(app: App, points: readonly Point[], objective: number, name: string, better: 1 | -1): Node[] {
  const scored = points.flatMap(p => {
    const value = p.values[objective];
    return typeof value === "number" ? [{p, value}] : [];
  });
  const best = records(points, objective, better);
  if (!scored.length) return [h("h3", {}, name), nothing("No trial has a score yet.")];
  const values = scored.map(s => s.value),
    low = Math.min(...values),
    high = Math.max(...values),
    pad = (high - low || Math.abs(high) || 1) * 0.08,
    last = points.at(-1)?.number ?? 0;
  const title = `${name} of each trial of the search, and the best so far`;
  const {box, x, y}: Frame = frame(title, "trial of the search", [-0.5, Math.max(1, last) + 0.5], [low - pad, high + pad], wide(720), 320);
  box.append(svg("path", {class: "front", d: path(stairs(best, last).map(([a, b]) => [x(a), y(b)] as const))}));
  for (const {p, value} of scored) {
    const c = app.study.configurations[p.configuration],
      words = `trial ${p.number}: ${fixed(value, DIGITS)}, ${p.state === "done" ? "" : `${p.reason || p.state}, `}${p.settings}`;
    box.append(
      svg(
        "g",
        {...(c ? {"data-c": c.index} : {}), class: `series ${c ? colour(app, c) : "cx"}`},
        svg("title", {}, words),
        p.state === "done" ? svg("circle", {class: "dot", cx: x(p.number), cy: y(value), r: 4.5}) : cross(x(p.number), y(value)),
      ),
    );
  }
  const rows = best.map(({point, value}) =>
    h("tr", {...own(app, point)}, ...named(app, point), h("td", {}, fixed(value, DIGITS)), h("td", {}, point.settings)),
  );
  return [
    h("h3", {}, name),
    note(
      `● a trial with a score; ✕ one that was pruned, at the last score that it reported; the dashed line is the best so far. ${better > 0 ? "Higher" : "Lower"} is better.`,
    ),
    scrolling(title, box),
    scrolling(
      "Trials that were better than all before them",
      h(
        "table",
        {class: "plain-table records"},
        h("caption", {}, "Trials that were better than all before them"),
        h("thead", {}, h("tr", {}, ...["trial", "score", "settings"].map(word => h("th", {scope: "col"}, word)))),
        h("tbody", {}, ...rows),
      ),
    ),
  ];
}

/** The best so far as a line of steps, up to the last trial. */
function stairs(best: readonly {point: Point; value: number}[], last: number): [number, number][] {
  return best.flatMap(({point, value}, i): [number, number][] => [
    [point.number, value],
    [best[i + 1]?.point.number ?? last, value],
  ]);
}

const cross = (x: number, y: number): SVGPathElement => {
  const [w, e, n, s] = [x - 4, x + 4, y - 4, y + 4];
  return svg("path", {class: "cross", d: `M${w} ${n}L${e} ${s}M${w} ${s}L${e} ${n}`});
};

/** What ties a row to its configuration, wherever that is drawn. */
const own = (app: App, p: Point): {"data-c"?: number} => (app.study.configurations[p.configuration] ? {"data-c": p.configuration} : {});

const named = (app: App, p: Point): Node[] => {
  const c = app.study.configurations[p.configuration];
  return [h("th", {scope: "row"}, c ? swatch(app, c) : null, String(p.number))];
};

function unfinished(app: App, points: readonly Point[]): Node[] {
  const list = points.filter(p => p.state === "pruned" || p.state === "failed");
  if (!list.length) return [];
  const rows = list.map(p =>
    h("tr", {...own(app, p)}, ...named(app, p), h("td", {}, p.reason || p.state), h("td", {}, p.settings)),
  );
  return [
    h(
      "details",
      {id: "pruned"},
      h("summary", {}, `${list.length} trial${list.length > 1 ? "s" : ""} that ended before a score, and when`),
      scrolling(
        "Trials that ended before a score",
        h(
          "table",
          {class: "plain-table"},
          h("thead", {}, h("tr", {}, ...["trial", "what happened", "settings"].map(word => h("th", {scope: "col"}, word)))),
          h("tbody", {}, ...rows),
        ),
      ),
    ),
  ];
}

function importance(search: RawSearch): Node[] {
  const heading = h("h3", {}, "Which settings matter");
  if (!search.importance.length) return [heading, nothing(`No importance is shown. ${search.absent}`)];
  const rows = search.importance.map(([key, share]) =>
    h(
      "tr",
      {},
      h("th", {scope: "row"}, key),
      h("td", {}, `${Math.round(100 * share)}%`),
      h("td", {}, bar(share)),
    ),
  );
  return [
    heading,
    note(
      `How much of the variation of ${search.objectives[0]?.[0] ?? "the score"} each setting explains over the trials with a score, by Optuna (fANOVA). It describes this search, not what another would find.`,
    ),
    h("table", {class: "plain-table", id: "importance"}, h("tbody", {}, ...rows)),
  ];
}

function bar(share: number): SVGSVGElement {
  const width = 160;
  return svg(
    "svg",
    {width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true", class: "c0"},
    svg("rect", {class: "share", x: 0, y: 2, height: 10, width: Math.max(1, width * Math.min(1, share))}),
  );
}
