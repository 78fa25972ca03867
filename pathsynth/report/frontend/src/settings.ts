// Which settings matter, the axes of settings and score, and a map of two settings.
import {colourOf, measureIndex, measureOf, type App} from "./app";
import {domain} from "./board";
import {path, range} from "./charts";
import {sortedUnique} from "./data";
import {h, svg} from "./dom";
import {condition} from "./query";
import {fixed, interval, shown} from "./stats";
import {nothing, colour, wide, note, scrolling} from "./parts";

export function settings(app: App): Node[] {
  const {study} = app,
    measure = measureOf(app);
  if (!study.settings.length || !measure) return [nothing("All trials have the same settings.")];
  const found: Node[] = [];
  if (study.effects.length) {
    const bounds = study.effects.flatMap(e => [e.difference.value, e.difference.low ?? 0, e.difference.high ?? 0]);
    const axis: [number, number] = [Math.min(0, ...bounds), Math.max(...bounds)];
    const rows = study.effects.map(e =>
      h(
        "tr",
        {class: e.plain ? "plain" : ""},
        h("th", {scope: "row"}, e.settings.join(" × ")),
        h("td", {}, e.contrast),
        h("td", {}, range(e.difference.value, e.difference.low, e.difference.high, axis, 180, e.plain ? "c0" : "cx")),
        h("td", {class: "plain-number"}, `${fixed(e.difference.value, 3)} ${interval(e.difference.low, e.difference.high, 3)}`),
        h(
          "td",
          {class: "plain-number"},
          e.difference.low === null ? "no interval: noise not known" : e.plain ? "beyond noise" : "not shown to matter",
        ),
        h("td", {}, ...e.levels.map(l => h("span", {class: "level"}, `${l.value}: ${fixed(l.mean, 3)} (n=${l.trials})`))),
      ),
    );
    found.push(
      h("h3", {}, "Which settings matter"),
      note(
        `In the main score (${study.measures.find(m => m.key === study.main)?.name ?? ""}): each setting alone, its best value against its worst, by all trials; then the largest interaction of each two. The intervals of all settings hold together with 95%, and so do those of all interactions.`,
      ),
      scrolling(
        "Which settings matter",
        h(
          "table",
          {id: "effects", class: "plain-table"},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["setting", "best value over worst", "", "difference [95% interval]", "", "mean of each value"].map(x =>
                h("th", {scope: "col"}, x),
              ),
            ),
          ),
          h("tbody", {}, ...rows),
        ),
      ),
    );
  }
  found.push(
    h("h3", {}, "Settings and score"),
    note("A line is a configuration; the ticked ones have colour. Choose a value on an axis to keep only its configurations."),
    parallel(app),
  );
  const heat = heatMap(app);
  if (heat) found.push(...heat);
  return found;
}

function parallel(app: App): Element {
  const {study} = app,
    main = measureIndex(app),
    measure = measureOf(app),
    high = 250,
    top = 30;
  const all = study.configurations.filter(c => c.scores[main]),
    keys = study.settings,
    [low, up] = domain(app, main, all);
  const step = Math.max(130, Math.min(340, (wide(1300) - 150) / keys.length)),
    whole = 90 + step * keys.length + 60;
  const axes = keys.map((key, i) => {
    const values = sortedUnique(all.map(c => c.settings[key] ?? ""));
    return {
      key,
      x: 90 + i * step,
      values,
      y: (v: string) => high - top - (values.length > 1 ? values.indexOf(v) / (values.length - 1) : 0.5) * (high - 2 * top - 10),
    };
  });
  const last = 90 + keys.length * step,
    yScore = (v: number) => high - top - ((v - low) / (up - low)) * (high - 2 * top - 10);
  const box = svg("svg", {
    class: "plot parallel",
    id: "parallel",
    width: whole,
    height: high,
    viewBox: `0 0 ${whole} ${high}`,
    role: "group",
    "aria-label": "Settings and score of each configuration; the numbers are in the leaderboard",
  });
  const ordered = [...all].sort((a, b) => Number(colourOf(app, a) !== null) - Number(colourOf(app, b) !== null));
  for (const c of ordered)
    box.append(
      svg(
        "g",
        {"data-c": c.index, class: `series ${colour(app, c)}`},
        svg("title", {}, `${c.name}: ${shown(c.scores[main], measure?.digits ?? 3)}`),
        svg("path", {
          class: "line",
          d: path([
            ...axes.map(a => [a.x, a.y(c.settings[a.key] ?? "")] as const),
            [last, yScore(c.scores[main]?.value ?? low)] as const,
          ]),
        }),
      ),
    );
  for (const a of axes) {
    const short = study.shortSetting.get(a.key) ?? a.key;
    box.append(
      svg("line", {class: "axis", x1: a.x, x2: a.x, y1: top, y2: high - top}),
      svg("text", {x: a.x, y: 14, "text-anchor": "middle", class: "title"}, short),
    );
    const shownValues = a.values.length > 12 ? a.values.filter((_, i) => i % Math.ceil(a.values.length / 12) === 0) : a.values;
    for (const v of shownValues) {
      const pick = () => app.change({query: `${app.view.query} ${condition(short, v)}`.trim()});
      const words = svg(
        "text",
        {
          class: "value",
          x: a.x - 8,
          y: a.y(v) + 4,
          "text-anchor": "end",
          role: "button",
          tabindex: 0,
          "aria-label": `keep ${short} ${v}`,
          click: pick,
          keydown: (e: KeyboardEvent) => {
            if (e.key === "Enter" || e.key === " ") {
              e.preventDefault();
              pick();
            }
          },
        },
        v === "" ? "none" : v.length > 16 ? `…${v.slice(-15)}` : v,
      );
      if (v.length > 16) words.append(svg("title", {}, v));
      box.append(words);
    }
  }
  box.append(
    svg("line", {class: "axis", x1: last, x2: last, y1: top, y2: high - top}),
    svg("text", {x: last, y: 14, "text-anchor": "middle", class: "title"}, measure?.short ?? ""),
    svg("text", {x: last + 8, y: top + 14}, fixed(up, 2)),
    svg("text", {x: last + 8, y: high - top + 4}, fixed(low, 2)),
  );
  return scrolling("Settings and score", box);
}

/** The mean of each cell of two settings, with its seeds and what failed there. */
function heatMap(app: App): Node[] | null {
  const {study} = app,
    main = measureIndex(app),
    measure = measureOf(app);
  const wanted = ["lora.rank", "optimizer.lr"].filter(k => study.settings.includes(k)),
    pair = [...wanted, ...study.settings.filter(k => !wanted.includes(k))].slice(0, 2);
  const [one, two] = pair;
  if (one === undefined || two === undefined || !measure) return null;
  const firsts = sortedUnique(study.configurations.map(c => c.settings[one] ?? "")),
    seconds = sortedUnique(study.configurations.map(c => c.settings[two] ?? ""));
  if (firsts.length > 20 || seconds.length > 20) return null;
  const values = study.configurations.map(c => c.scores[main]?.value).filter((v): v is number => v !== undefined),
    low = Math.min(...values),
    high = Math.max(...values);
  const rows = firsts.map(a =>
    h(
      "tr",
      {},
      h("th", {scope: "row"}, a),
      ...seconds.map(b => {
        const here = study.configurations.filter(c => c.settings[one] === a && c.settings[two] === b),
          scored = here.filter(c => c.scores[main]);
        const trials = here.flatMap(c => c.trials),
          lost = trials.filter(t => t.state !== "done").length,
          seeds = scored.reduce((n, c) => n + c.seeds.length, 0);
        if (!here.length) return h("td", {class: "none"}, "not tried");
        const mean = scored.length ? scored.reduce((sum, c) => sum + (c.scores[main]?.value ?? 0), 0) / scored.length : null;
        const cell = h(
          "td",
          {"data-c": here[0]?.index ?? ""},
          h("b", {}, mean === null ? "–" : fixed(mean, measure.digits)),
          h("small", {}, `n=${seeds}${lost ? `, ${lost} not done` : ""}`),
        );
        if (mean !== null)
          cell.style.setProperty("--heat", String(Math.round((high > low ? (mean - low) / (high - low) : 0.5) * 42)));
        return cell;
      }),
    ),
  );
  const names = [one, two].map(k => study.shortSetting.get(k) ?? k);
  return [
    h("h3", {}, `${names[0]} and ${names[1]}`),
    note(
      `Mean of ${measure.name}; n: trials.${study.settings.length > 2 ? " Where other settings vary too, the mean is over them." : ""}`,
    ),
    scrolling(
      "Two settings",
      h(
        "table",
        {class: "heat", id: "heat"},
        h("thead", {}, h("tr", {}, h("td", {}, `${names[0]} ↓ ${names[1]} →`), ...seconds.map(b => h("th", {scope: "col"}, b)))),
        h("tbody", {}, ...rows),
      ),
    ),
  ];
}
