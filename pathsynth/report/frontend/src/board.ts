// The leaderboard: a row for each configuration, its trials below it where it is unfolded.
import {attemptShown, baseline, chosen, colourOf, measureIndex, pictured, query, swatch, toggleChosen, type App} from "./app";
import {inOrder, type Configuration, type Measure, type Trial} from "./data";
import {byId, h, isSafeLink, svg} from "./dom";
import {difference, fixed, interval, shown, shownDifference, signed} from "./stats";
import {columnsOf, hasImages, thumb} from "./tiles";

const ROW = 38,
  WHOLE = 60,
  MARGIN = 12,
  SIDE = 28,
  NARROW = 640,
  SHORT = 14;
const STATE_ORDER = ["done", "running", "waiting", "failed", "unreadable", "interrupted", "pruned", "missing"];
/** The measures that have a column unless they are hidden. */
export const USUAL = ["f1_judge", "f1_gate", "accepted", "cost", "kid"];

type Row = {c: Configuration; t: Trial | null};
type Column = {
  key: string;
  head: string;
  help: string;
  sticky?: boolean;
  better?: 1 | -1 | 0;
  sort?: (c: Configuration) => string | number | null;
  cell: (c: Configuration) => HTMLElement;
  trial?: (t: Trial) => HTMLElement;
  wide?: string;
};

const number = (score: {value: number} | null | undefined, digits: number) => (score ? fixed(score.value, digits) : "–");

export function visibleMeasures(app: App): Measure[] {
  const main = measureIndex(app);
  return app.study.measures.filter((m, i) => i !== main && USUAL.includes(m.alias) !== app.view.hidden.includes(m.alias));
}

/** The ends of the axis that the intervals of a measure are drawn on. */
export function domain(app: App, measure: number, of = app.study.configurations): [number, number] {
  const values = of.flatMap(c => {
    const s = c.scores[measure];
    return s ? [s.value, s.low ?? s.value, s.high ?? s.value, ...c.trials.map(t => t.readings[measure]?.value ?? s.value)] : [];
  });
  if (!values.length) return [0, 1];
  const low = Math.min(...values),
    high = Math.max(...values),
    pad = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - pad, high + pad];
}

function whisker(app: App, measure: number, c: Configuration, [low, high]: [number, number]): SVGElement {
  const wide = 84,
    x = (v: number) => 4 + ((v - low) / (high - low)) * (wide - 8),
    s = c.scores[measure],
    base = baseline(app)?.scores[measure];
  const colour = colourOf(app, c);
  const box = svg("svg", {
    width: wide,
    height: 22,
    viewBox: `0 0 ${wide} 22`,
    class: `whisker c${colour ?? "x"}`,
    "aria-hidden": "true",
  });
  if (base) box.append(svg("line", {x1: x(base.value), x2: x(base.value), y1: 0, y2: 22, class: "base"}));
  if (!s) return box;
  if (s.low !== null && s.high !== null) box.append(svg("line", {x1: x(s.low), x2: x(s.high), y1: 11, y2: 11, class: "range"}));
  for (const t of c.trials) {
    const r = t.readings[measure];
    if (r) box.append(svg("circle", {cx: x(r.value), cy: 11, r: 2.6, class: "dot"}));
  }
  box.append(svg("line", {x1: x(s.value), x2: x(s.value), y1: 4, y2: 18, class: "mean"}));
  return box;
}

function stateCell(c: Configuration): HTMLElement {
  const states = [...c.states].sort((a, b) => STATE_ORDER.indexOf(a[0]) - STATE_ORDER.indexOf(b[0]));
  const first = c.trials.find(t => t.state !== "done") ?? c.trials.find(t => t.problem);
  const title = c.trials.map(t => `seed ${t.seed || "unknown"}: ${t.state}${t.problem ? `, ${t.problem}` : ""}`).join("\n");
  return h(
    "td",
    {class: "state", title},
    ...states.map(([state, n]) => h("span", {class: `pill ${state}`}, `${n} ${state}`)),
    first ? h("span", {class: "why"}, first.problem) : null,
  );
}

function columns(app: App): Column[] {
  const {study} = app,
    main = measureIndex(app),
    measure = study.measures[main],
    base = baseline(app),
    range = domain(app, main);
  const found: Column[] = [];
  for (const key of study.settings) {
    const short = study.shortSetting.get(key) ?? key;
    found.push({
      key: `setting:${key}`,
      head: short,
      help: key,
      sort: c => c.settings[key] ?? null,
      wide: "setting",
      cell: c =>
        h(
          "td",
          {class: `setting${(c.settings[key] ?? "").length > SHORT ? " long" : ""}`, title: `${key}=${c.settings[key] ?? ""}`},
          c.settings[key] ?? "–",
        ),
    });
  }
  if (!study.settings.length)
    found.push({
      key: "name",
      head: "configuration",
      help: "Settings in which this configuration differs from the others",
      sort: c => c.name,
      cell: c => h("td", {class: "setting"}, c.name),
    });
  if (measure) {
    found.push({
      key: "score",
      head: innerWidth < NARROW ? measure.short : measure.name,
      help: `${measure.name}. ${measure.help} Mean over the training seeds; dots: seeds; line: 95% interval; dashed: the baseline.`,
      better: measure.better,
      sort: c => c.scores[main]?.value ?? null,
      wide: "score",
      cell: c => {
        const s = c.scores[main] ?? null;
        return h(
          "td",
          {
            class: "score",
            title: s
              ? `${shown(s, measure.digits)}, ${c.seeds.length} ${c.seeds.length === 1 ? "seed: chance in the images" : "seeds"}`
              : "no trial has it yet",
          },
          h("b", {}, number(s, measure.digits)),
          " ",
          innerWidth < NARROW ? null : whisker(app, main, c, range),
          h("small", {}, s ? interval(s.low, s.high, measure.digits) : ""),
        );
      },
      trial: t => h("td", {class: "score"}, h("span", {}, shown(t.readings[main], measure.digits))),
    });
    found.push({
      key: "difference",
      head: "against ★",
      help: "Difference to the pinned baseline ★, paired over training seeds. The 95% interval is corrected for all pairs of configurations, so any of them can be pinned. Bold: beyond noise.",
      better: measure.better,
      sort: c => (base && difference(study, main, c, base)?.value) ?? null,
      cell: c => {
        if (c === base) return h("td", {class: "difference"}, h("span", {class: "quiet"}, "★ baseline"));
        const d = base ? difference(study, main, c, base) : null;
        if (!d) return h("td", {class: "difference"}, h("span", {class: "quiet"}, "–"));
        return h(
          "td",
          {
            class: `difference${d.plain ? " plain" : ""}`,
            title: `${shownDifference(d, measure.digits)}: ${d.plain === null ? "noise is not known" : d.plain ? "beyond noise" : "within noise"}`,
          },
          signed(d.value, measure.digits),
          " ",
          h("small", {}, interval(d.low, d.high, measure.digits) || "noise not known"),
        );
      },
    });
  }
  found.push({
    key: "state",
    head: "trials",
    help: "How many trials are done, failed, pruned, running or missing, and the reason of the first that is not done",
    sort: c => c.trials.length - c.seeds.length,
    cell: stateCell,
  });
  const slots = columnsOf(app, 9);
  if (slots.length && study.configurations.some(hasImages)) {
    const strip = (t: Trial | undefined) =>
      h(
        "td",
        {class: "strip"},
        ...(t
          ? slots.map(s => thumb(app, t, attemptShown(app, t, s.cls, s.slot), SIDE))
          : [h("span", {class: "quiet"}, "no images")]),
      );
    found.push({
      key: "strip",
      head: "",
      help: "",
      wide: "strip",
      cell: c => strip(pictured(app, c)),
      trial: t => strip(t.sprite ? t : undefined),
    });
  }
  for (const m of visibleMeasures(app)) {
    const i = study.measures.indexOf(m);
    found.push({
      key: m.alias,
      head: m.short,
      help: `${m.name}. ${m.help}`,
      better: m.better,
      sort: c => c.scores[i]?.value ?? null,
      cell: c => h("td", {class: "number", title: shown(c.scores[i], m.digits)}, number(c.scores[i], m.digits)),
      trial: t => h("td", {class: "number", title: shown(t.readings[i], m.digits)}, number(t.readings[i], m.digits)),
    });
  }
  return found;
}

/** The configurations that the query leaves, in the order that was requested. */
export function rowsOf(app: App): Configuration[] {
  const {view, study} = app,
    left = study.configurations.filter(query(app).holds),
    main = measureIndex(app),
    measure = study.measures[main];
  const usual = !view.sort && measure?.key === study.main && !view.down;
  if (usual) return left;
  const column = columns(app).find(c => c.key === (view.sort || "score"));
  if (!column?.sort) return left;
  const {sort} = column,
    sign = ((view.sort ? (column.better ?? -1) : (measure?.better ?? 1)) === 1 ? -1 : 1) * (view.down ? -1 : 1);
  return [...left].sort((a, b) => {
    const x = sort(a),
      y = sort(b);
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : inOrder(String(x), String(y)));
  });
}

function head(app: App, all: Column[]): HTMLElement {
  const {view} = app,
    row = h("tr", {}),
    sorted = view.sort || "score";
  row.append(h("th", {class: "first", scope: "col"}, h("span", {class: "sr"}, "rank, choice and baseline")));
  for (const c of all) {
    if (c.key === "strip") {
      const slots = columnsOf(app, 9);
      row.append(
        h(
          "th",
          {
            class: "strip",
            scope: "col",
            title:
              "The same slots in every row: same class, same prompt, same random seed of the first attempt. None was picked by hand.",
          },
          h("span", {class: "heads"}, ...slots.map(s => h("span", {title: s.head}, s.short))),
        ),
      );
      continue;
    }
    const on = sorted === c.key,
      rises = ((c.better ?? -1) === 1) === view.down;
    const arrow = c.better === 1 ? " higher is better" : c.better === -1 ? " lower is better" : "";
    row.append(
      h(
        "th",
        {scope: "col", class: c.wide ?? c.key, "aria-sort": on ? (rises ? "ascending" : "descending") : "none"},
        h(
          "button",
          {
            type: "button",
            title: `${c.help}${arrow ? ` (${arrow.trim()})` : ""}`,
            "data-k": `sort/${c.key}`,
            "data-sort": c.key,
            click: () => app.change({sort: c.key === "score" ? "" : c.key, down: on ? !view.down : false}),
          },
          c.head,
          h(
            "span",
            {class: "arrow", "aria-hidden": "true"},
            on ? (rises ? " ▲" : " ▼") : c.better ? (c.better === 1 ? " ↑" : " ↓") : "",
          ),
        ),
      ),
    );
  }
  return row;
}

function configurationRow(app: App, c: Configuration, all: Column[], open: boolean, at: number): HTMLElement {
  const ticked = chosen(app).includes(c),
    pinned = baseline(app) === c,
    rank = c.ranked ? String(c.index + 1) : "–";
  const tick = h("input", {
    type: "checkbox",
    "aria-label": `show ${c.name} below`,
    "data-k": `tick/${c.id}`,
    change: () => toggleChosen(app, c),
  });
  tick.checked = ticked;
  const fold = h(
    "button",
    {
      type: "button",
      class: "fold",
      "aria-expanded": String(open),
      "aria-label": `trials of ${c.name}`,
      "data-k": `fold/${c.id}`,
      click: () => app.change({open: open ? app.view.open.filter(id => id !== c.id) : [...app.view.open, c.id]}),
    },
    open ? "▾" : "▸",
  );
  const pin = h(
    "button",
    {
      type: "button",
      class: `pin${pinned ? " on" : ""}`,
      "aria-pressed": String(pinned),
      title: "pin as the baseline ★",
      "aria-label": `pin ${c.name} as the baseline`,
      "data-k": `pin/${c.id}`,
      click: () => app.change({base: c.id}),
    },
    pinned ? "★" : "☆",
  );
  return h(
    "tr",
    {"data-c": c.index, class: ticked ? "chosen" : "", "aria-rowindex": at},
    h(
      "th",
      {class: "first", scope: "row"},
      fold,
      tick,
      swatch(app, c),
      h("span", {class: "rank", title: c.ranked ? `rank ${rank} by the study's main score` : "not ranked: no score yet"}, rank),
      pin,
      h("span", {class: "sr"}, c.name),
    ),
    ...all.map(x => x.cell(c)),
  );
}

function trialRow(t: Trial, all: Column[], at: number): HTMLElement {
  const name = t.link && isSafeLink(t.link) ? h("a", {href: t.link}, "page") : null;
  const online = t.address && isSafeLink(t.address) ? h("a", {href: t.address, title: "this trial's run in W&B"}, "W&B") : null;
  const settings = all.filter(c => c.key.startsWith("setting:") || c.key === "name").length;
  const cells = all.slice(settings).map(c => {
    if (c.key === "state")
      return h(
        "td",
        {class: "state", title: t.problem},
        h("span", {class: `pill ${t.state}`}, t.state),
        t.problem ? h("span", {class: "why"}, t.problem) : null,
      );
    if (!t.readings.length && c.key !== "strip") return h("td", {class: c.key === "score" ? "score" : "number"});
    return c.trial?.(t) ?? h("td", {});
  });
  return h(
    "tr",
    {class: "trial", "data-c": t.configuration.index, "aria-rowindex": at, title: t.name},
    h("th", {class: "first", scope: "row"}, `seed ${t.seed || "unknown"}`),
    h("td", {colspan: settings, class: "links"}, name, " ", online, t.source ? h("small", {}, ` from ${t.source}`) : null, t.maker ? h("small", {}, ` by ${t.maker}`) : null),
    ...cells,
  );
}

/** Draws the table; of many rows only those in sight, for a page must answer at once. */
export function drawBoard(app: App): void {
  const table = byId("board") as HTMLTableElement,
    frame = table.parentElement as HTMLElement,
    all = columns(app),
    left = rowsOf(app);
  const rows: Row[] = left.flatMap(c => [
    {c, t: null},
    ...(app.view.open.includes(c.id) || app.view.every ? c.trials.map(t => ({c, t})) : []),
  ]);
  table.setAttribute("aria-rowcount", String(rows.length + 1));
  (table.tHead as HTMLElement).replaceChildren(head(app, all));
  const body = table.tBodies[0] as HTMLTableSectionElement;
  const node = ({c, t}: Row, i: number) =>
    t ? trialRow(t, all, i + 2) : configurationRow(app, c, all, app.view.open.includes(c.id) || app.view.every, i + 2);
  const spacer = (n: number) => {
    const row = h("tr", {"aria-hidden": "true", class: "spacer"}, h("td", {colspan: all.length + 1}));
    row.style.height = `${n * ROW}px`;
    return row;
  };
  let drawn = "";
  const draw = () => {
    if (rows.length <= WHOLE) {
      body.replaceChildren(...rows.map(node));
      return;
    }
    const first = Math.max(0, Math.floor(frame.scrollTop / ROW) - MARGIN),
      last = Math.min(rows.length, first + Math.ceil((frame.clientHeight || 600) / ROW) + 2 * MARGIN);
    if (drawn === `${first}-${last}`) return;
    drawn = `${first}-${last}`;
    const active = (document.activeElement as HTMLElement | null)?.dataset["k"];
    body.replaceChildren(spacer(first), ...rows.slice(first, last).map((r, i) => node(r, first + i)), spacer(rows.length - last));
    if (active) body.querySelector<HTMLElement>(`[data-k="${CSS.escape(active)}"]`)?.focus({preventScroll: true});
  };
  frame.onscroll = rows.length <= WHOLE ? null : () => requestAnimationFrame(draw);
  draw();
  const trials = left.reduce((n, c) => n + c.trials.length, 0);
  byId("count").textContent = `${left.length} of ${app.study.configurations.length} configurations, ${trials} trials`;
}

/** The rows as a table for a spreadsheet: each measure with its interval and n. */
export function csv(app: App): string {
  const {study} = app,
    quoted = (x: string) => (/[",\n]/.test(x) ? `"${x.replace(/"/g, '""')}"` : x);
  const safe = (x: string) => quoted(/^[=+@\t]/.test(x) ? `'${x}` : x);
  const heads = [
    "configuration",
    ...study.settings,
    "seeds",
    "states",
    ...study.measures.flatMap(m => [m.name, `${m.name} low`, `${m.name} high`, `${m.name} n`]),
  ];
  const lines = rowsOf(app).map(c => [
    c.label,
    ...study.settings.map(k => c.settings[k] ?? ""),
    c.seeds.join(" "),
    [...c.states].map(([s, n]) => `${n} ${s}`).join(" "),
    ...c.scores.flatMap(s => (s ? [s.value, s.low ?? "", s.high ?? "", s.n].map(String) : ["", "", "", ""])),
  ]);
  return [heads, ...lines].map(line => line.map(safe).join(",")).join("\n") + "\n";
}
