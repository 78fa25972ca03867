// A measure of each class, the weakest first.
import {chosen, className, swatch, type App} from "./app";
import {range} from "./charts";
import {type Configuration, type Score} from "./data";
import {h} from "./dom";
import {fixed, interval} from "./stats";
import {MANY_CLASSES, colour, note, choice, scrolling} from "./parts";

export function classes(app: App): Node[] {
  const {study, view} = app,
    list = chosen(app),
    which = Math.max(0, study.classMeasures.indexOf(view.classMeasure));
  const score = (c: Configuration, i: number): Score | null => c.classes[which]?.[i] ?? null;
  const level = (i: number) => {
    const v = list.map(c => score(c, i)?.value).filter((x): x is number => x !== undefined);
    return v.length ? v.reduce((a, b) => a + b, 0) / v.length : 2;
  };
  let order = study.scored.map((cls, i) => ({cls, i, level: level(i)})).sort((a, b) => a.level - b.level);
  const many = order.length > MANY_CLASSES;
  if (many && !view.allClasses) order = order.slice(0, MANY_CLASSES);
  const every = h("input", {type: "checkbox", "data-k": "all-classes", change: () => app.change({allClasses: every.checked})});
  every.checked = view.allClasses;
  const rows = order.map(({cls, i}) =>
    h(
      "tr",
      {},
      h("th", {scope: "row"}, className(study, cls)),
      ...list.map(c => {
        const s = score(c, i);
        return h(
          "td",
          {"data-c": c.index},
          h(
            "span",
            {class: "line"},
            s ? range(s.value, s.low, s.high, [0, 1], 120, colour(app, c)) : "",
            s ? fixed(s.value, 2) : "not measured",
          ),
          h("small", {}, s ? `${interval(s.low, s.high, 2)} n=${s.n}` : ""),
        );
      }),
      h("td", {}, taken(app, list[0], cls)),
    ),
  );
  return [
    h(
      "p",
      {class: "tools"},
      choice(
        app,
        "Measure",
        "classMeasure",
        study.classMeasures[which] ?? "",
        study.classMeasures.map(m => [m, m]),
      ),
      many ? h("label", {id: "all-classes"}, every, " all classes") : null,
    ),
    note("Weakest class first. Mean over the seeds and the range of the seeds; of one seed the 95% interval."),
    scrolling(
      "Class by class",
      h(
        "table",
        {class: "plain-table", id: "classes"},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {scope: "col"}, "class"),
            ...list.map(c => h("th", {scope: "col", "data-c": c.index}, swatch(app, c), c.name)),
            h("th", {scope: "col"}, list[0] ? `most often taken for, by the ${study.matrices[0]?.[1] ?? "gate"} (${list[0].name})` : ""),
          ),
        ),
        h("tbody", {}, ...rows),
      ),
    ),
  ];
}

/** What images of a class are taken for most: first attempts by the gate, or real ones by a classifier. */
export function taken(app: App, c: Configuration | undefined, cls: number): string {
  const row = c?.matrices[0]?.[cls] ?? [],
    n = row.reduce((a, b) => a + b, 0);
  const worst = row
    .map((count, other) => ({count, other}))
    .filter(x => x.other !== cls)
    .sort((a, b) => b.count - a.count)[0];
  return worst && worst.count
    ? `${className(app.study, worst.other)} (${worst.count} of ${n})`
    : n
      ? "nothing else"
      : "not known";
}
