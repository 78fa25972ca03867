// Everything that differs between the ticked configurations.
import {baseline, chosen, className, pictured, shortClass, swatch, type App} from "./app";
import {inOrder, slotKey, type Configuration} from "./data";
import {copyable, h} from "./dom";
import {difference, fixed, shown, shownDifference} from "./stats";
import {columnsOf, hasImages, tile} from "./tiles";
import {MANY_CLASSES, nothing, note, scrolling} from "./parts";

export function compare(app: App): Node[] {
  const {study, view} = app,
    list = chosen(app),
    base = list.find(c => c === baseline(app)) ?? list[0];
  if (list.length < 2 || !base) return [nothing("Tick two to eight configurations in the table above.")];
  const head = (corner: string) =>
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", {scope: "col"}, corner),
        ...list.map(c =>
          h(
            "th",
            {scope: "col", "data-c": c.index},
            swatch(app, c),
            c.name,
            c === base ? h("small", {}, "★ compared with") : null,
          ),
        ),
      ),
    );
  const unlike = study.settings.filter(k => new Set(list.map(c => c.settings[k] ?? "")).size > 1),
    alike = study.settings.filter(k => !unlike.includes(k));
  const setting = h(
    "table",
    {class: "plain-table", id: "unlike"},
    head("setting"),
    h(
      "tbody",
      {},
      ...unlike.map(k =>
        h(
          "tr",
          {},
          h("th", {scope: "row"}, h("code", {}, k)),
          ...list.map(c => h("td", {class: c.settings[k] === base.settings[k] ? "" : "changed"}, c.settings[k] ?? "not set")),
        ),
      ),
      h("tr", {}, h("th", {scope: "row"}, "seeds done"), ...list.map(c => h("td", {}, c.seeds.join(", ") || "none"))),
    ),
  );
  const same = h(
    "details",
    {},
    h("summary", {}, `${alike.length + Object.keys(study.common).length} settings in which they are alike`),
    h(
      "dl",
      {class: "facts"},
      ...[...alike.map(k => [k, list[0]?.settings[k] ?? ""]), ...Object.entries(study.common)]
        .sort((a, b) => inOrder(a[0] ?? "", b[0] ?? ""))
        .flatMap(([k = "", v = ""]) => [h("dt", {}, k), h("dd", {}, v)]),
    ),
  );
  const measures = h(
    "table",
    {class: "plain-table", id: "scores"},
    head("score"),
    h(
      "tbody",
      {},
      ...study.measures
        .filter((_, i) => list.some(c => c.scores[i]))
        .map(m => {
          const i = study.measures.indexOf(m);
          return h(
            "tr",
            {},
            h(
              "th",
              {scope: "row", title: m.help},
              m.name,
              h("small", {}, {"1": "higher is better", "-1": "lower is better", "0": ""}[m.better]),
            ),
            ...list.map(c => {
              const d = c === base ? null : difference(study, i, c, base);
              return h(
                "td",
                {class: d?.plain ? "plain" : ""},
                shown(c.scores[i], m.digits),
                d
                  ? h(
                      "small",
                      {},
                      `${shownDifference(d, m.digits)} ${d.plain === null ? "noise not known" : d.plain ? "beyond noise" : "within noise"}`,
                    )
                  : null,
              );
            }),
          );
        }),
    ),
  );
  return [
    h("h3", {}, "What differs in their settings"),
    scrolling("Settings that differ", setting),
    same,
    h("h3", {}, "Scores"),
    note(
      "Mean over the seeds, 95% interval, n. Below: the difference from ★, paired over seeds, its interval corrected for all pairs of configurations.",
    ),
    scrolling("Scores", measures),
    ...confusion(app, list, base),
    h("h3", {}, "Images, slot by slot, with all attempts"),
    note(
      `${className(study, columnsOf(app, 1)[0]?.cls ?? null)}${view.cls ? "" : " and the other classes"}: attempts in their order; under each the gate’s word.`,
    ),
    attempts(app, list),
    h("h3", {}, "How to repeat each trial"),
    ...list.flatMap(c => [
      h("h4", {"data-c": c.index}, swatch(app, c), c.name),
      ...c.trials.map(t =>
        h(
          "div",
          {class: "again"},
          h("span", {class: `pill ${t.state}`}, `seed ${t.seed || "unknown"} ${t.state}`),
          h("span", {class: "why"}, [t.maker && `by ${t.maker}`, t.source && `from ${t.source}`, t.problem].filter(Boolean).join("; ")),
          t.command ? copyable(t.command, `the command of seed ${t.seed}`) : null,
        ),
      ),
    ]),
  ];
}

function confusion(app: App, list: readonly Configuration[], base: Configuration): Node[] {
  const {study} = app,
    which = study.matrices.findIndex((_, i) => list.some(c => c.matrices[i]?.length));
  if (which < 0 || study.classes.length > MANY_CLASSES)
    return [note("There are too many classes or trials here; the trials’ own pages have the confusion matrices.")];
  const kind = app.view.matrix in study.matrices ? Number(app.view.matrix) : which,
    [stage, scorer] = study.matrices[kind] ?? ["", ""];
  const select = h(
    "select",
    {"data-k": "matrix", change: () => app.change({matrix: select.value})},
    ...study.matrices.map(([a, b], i) => h("option", {value: i}, `${a}, by the ${b}`)),
  );
  select.value = String(kind);
  const table = (c: Configuration, rows: number[][], minus: number[][] | null) => {
    const share = (m: number[][], i: number, j: number) => {
      const n = (m[i] ?? []).reduce((a, b) => a + b, 0);
      return n ? (m[i]?.[j] ?? 0) / n : 0;
    };
    return h(
      "table",
      {class: "matrix"},
      h("caption", {}, c.name, minus ? ", minus ★ (percentage points)" : ""),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}, "requested ↓ named →"),
          ...study.classes.map(([, name], i) => h("th", {scope: "col", title: name}, h("span", {}, shortClass(study, i)))),
        ),
      ),
      h(
        "tbody",
        {},
        ...rows.map((row, i) =>
          h(
            "tr",
            {},
            h("th", {scope: "row"}, study.classes[i]?.[1] ?? ""),
            ...row.map((count, j) => {
              const value = minus ? share(rows, i, j) - share(minus, i, j) : share(rows, i, j);
              const cell = h(
                "td",
                {class: `${i === j ? "own" : ""}${minus ? (value * (i === j ? 1 : -1) >= 0 ? " gain" : " loss") : ""}`},
                minus ? (Math.round(100 * value) ? fixed(100 * value, 0) : "") : count ? String(count) : "",
              );
              cell.style.setProperty("--heat", String(Math.round(Math.min(1, Math.abs(value) * (minus ? 2 : 1)) * 38)));
              return cell;
            }),
          ),
        ),
      ),
    );
  };
  const own = base.matrices[kind] ?? [];
  const made = list.flatMap(c => {
    const m = c.matrices[kind] ?? [];
    return m.length
      ? [h("div", {"data-c": c.index, class: "pair"}, table(c, m, null), c !== base && own.length ? table(c, m, own) : null)]
      : [];
  });
  return [
    h("h3", {}, "Confusion matrices and their difference"),
    h("p", {class: "tools"}, h("label", {}, "Images ", select)),
    note(`Counts of images ${stage}, named by the ${scorer}, over all seeds; rows: requested.`),
    scrolling("Confusion matrices", h("div", {class: "matrices", id: "matrices"}, ...made)),
  ];
}

function attempts(app: App, list: readonly Configuration[]): HTMLElement {
  const slots = columnsOf(app, 9),
    side = 64;
  const rows = list.filter(hasImages).map(c => {
    const t = pictured(app, c);
    return h(
      "tr",
      {"data-c": c.index},
      h("th", {scope: "row"}, swatch(app, c), c.name, h("small", {}, t ? `seed ${t.seed}` : "")),
      ...slots.map(s =>
        h(
          "td",
          {},
          h(
            "div",
            {class: "tries"},
            ...(t?.attempts().get(slotKey(s.cls, s.slot)) ?? []).map(a =>
              h(
                "figure",
                {},
                t ? tile(app, t, a, side, "try") : null,
                h(
                  "figcaption",
                  {},
                  a.accepted
                    ? `${a.attempt + 1}: accepted`
                    : `${a.attempt + 1}: ${a.seen !== null && a.seen !== a.class ? `seen as ${className(app.study, a.seen)}` : a.reason || "rejected"}`,
                ),
              ),
            ),
          ),
        ),
      ),
    );
  });
  return scrolling(
    "All attempts",
    h(
      "table",
      {class: "images tried", id: "attempts"},
      h("thead", {}, h("tr", {}, h("td", {}), ...slots.map(s => h("th", {scope: "col"}, h("span", {}, s.head))))),
      h("tbody", {}, ...rows),
    ),
  );
}
