// The tabs below the leaderboard, each about the configurations that are ticked in it.
import {attemptShown, baseline, chosen, className, colourOf, measureIndex, measureOf, pictured, shortClass, swatch, type App} from "./app";
import {domain} from "./board";
import {frame, lines, path, range, type Line} from "./charts";
import {inOrder, slotKey, sortedUnique, type Configuration, type Score} from "./data";
import {copyable, h, svg} from "./dom";
import {difference, fixed, interval, shown, shownDifference} from "./stats";
import {columnsOf, gap, hasImages, realTile, tile} from "./tiles";
import {condition} from "./query";
import type {Tab, View} from "./view";

const MANY_CLASSES = 30;

const legend = (app: App, list: readonly Configuration[]): HTMLElement =>
  h("p", {class: "legend"}, ...list.map(c => h("span", {"data-c": c.index}, swatch(app, c), c.name)));
const nothing = (words: string): HTMLElement => h("p", {class: "empty"}, words);
const colour = (app: App, c: Configuration): string => `c${colourOf(app, c) ?? "x"}`;
const wide = (most: number): number => Math.max(300, Math.min(most, innerWidth - 44));
const note = (text: string): HTMLElement => h("p", {class: "quiet"}, text);

function choice<K extends keyof View>(app: App, words: string, key: K, value: string, options: readonly [string, string][]): HTMLElement {
  const select = h("select", {"data-k": `choice/${key}`, change: () => app.change({[key]: select.value} as Partial<View>)}, ...options.map(([v, text]) => h("option", {value: v}, text)));
  select.value = value;
  return h("label", {}, `${words} `, select);
}

function scrolling(label: string, inside: Element): HTMLElement {
  return h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": label}, inside);
}

// --- images
function images(app: App): Node[] {
  const list = chosen(app).filter(hasImages);
  const notes = app.study.notes.map(note);
  if (!list.length) return [nothing("None of these configurations has images yet."), ...notes];
  const slots = columnsOf(app, 12), side = innerWidth < 640 ? 56 : 80;
  const rows = list.map(c => {
    const t = pictured(app, c);
    return h("tr", {"data-c": c.index}, h("th", {scope: "row"}, swatch(app, c), c.name, h("small", {}, t ? `seed ${t.seed || "unknown"}` : "")),
      ...slots.map(s => { const a = t && attemptShown(app, t, s.cls, s.slot); return h("td", {}, t && a ? tile(app, t, a, side, "image") : gap(side)); }));
  });
  const withReal = list.map(c => pictured(app, c)).find(t => t && t.real.size);
  if (withReal) rows.push(h("tr", {}, h("th", {scope: "row"}, "real images"), ...slots.map(s => h("td", {}, realTile(app, withReal, s.cls, s.slot, side)))));
  const table = h("table", {class: "images"}, h("thead", {}, h("tr", {}, h("td", {}), ...slots.map(s => h("th", {scope: "col"}, h("span", {}, s.head))))), h("tbody", {}, ...rows));
  return [note("Same column, same slot: the same class, prompt and random seed of the first attempt in every row. None was picked by hand. Solid frame: accepted by the gate; dashed frame with a cut corner: rejected. Click an image for all attempts at its slot."),
    scrolling("Images of the same slots", table), ...notes];
}

// --- settings
function settings(app: App): Node[] {
  const {study} = app, measure = measureOf(app);
  if (!study.settings.length || !measure) return [nothing("All trials have the same settings.")];
  const found: Node[] = [];
  if (study.effects.length) {
    const bounds = study.effects.flatMap(e => [e.difference.value, e.difference.low ?? 0, e.difference.high ?? 0]);
    const axis: [number, number] = [Math.min(0, ...bounds), Math.max(...bounds)];
    const rows = study.effects.map(e => h("tr", {class: e.plain ? "plain" : ""}, h("th", {scope: "row"}, e.settings.join(" × ")), h("td", {}, e.contrast),
      h("td", {}, range(e.difference.value, e.difference.low, e.difference.high, axis, 180, e.plain ? "c0" : "cx")),
      h("td", {class: "plain-number"}, `${fixed(e.difference.value, 3)} ${interval(e.difference.low, e.difference.high, 3)}`), h("td", {class: "plain-number"}, e.difference.low === null ? "no interval: noise not known" : e.plain ? "beyond noise" : "not shown to matter"),
      h("td", {}, ...e.levels.map(l => h("span", {class: "level"}, `${l.value}: ${fixed(l.mean, 3)} (n=${l.trials})`)))));
    found.push(h("h3", {}, "Which settings matter"), note(`In macro-F1 before filtering, by the ${study.scorer}: each setting alone, its best value against its worst, by all trials; then the largest interaction of each two. The intervals of all settings hold together with 95%, and so do those of all interactions.`),
      scrolling("Which settings matter", h("table", {id: "effects", class: "plain-table"}, h("thead", {}, h("tr", {}, ...["setting", "best value over worst", "", "difference [95% interval]", "", "mean of each value"].map(x => h("th", {scope: "col"}, x)))), h("tbody", {}, ...rows))));
  }
  found.push(h("h3", {}, "Settings and score"), note("A line is a configuration; the ticked ones have colour. Choose a value on an axis to keep only its configurations."), parallel(app));
  const heat = heatMap(app);
  if (heat) found.push(...heat);
  return found;
}

function parallel(app: App): Element {
  const {study} = app, main = measureIndex(app), measure = measureOf(app), high = 250, top = 30;
  const all = study.configurations.filter(c => c.scores[main]), keys = study.settings, [low, up] = domain(app, main, all);
  const step = Math.max(130, Math.min(340, (wide(1300) - 150) / keys.length)), whole = 90 + step * keys.length + 60;
  const axes = keys.map((key, i) => { const values = sortedUnique(all.map(c => c.settings[key] ?? "")); return {key, x: 90 + i * step, values, y: (v: string) => high - top - (values.length > 1 ? values.indexOf(v) / (values.length - 1) : 0.5) * (high - 2 * top - 10)}; });
  const last = 90 + keys.length * step, yScore = (v: number) => high - top - (v - low) / (up - low) * (high - 2 * top - 10);
  const box = svg("svg", {class: "plot parallel", id: "parallel", width: whole, height: high, viewBox: `0 0 ${whole} ${high}`, role: "group", "aria-label": "Settings and score of each configuration; the numbers are in the leaderboard"});
  const ordered = [...all].sort((a, b) => Number(colourOf(app, a) !== null) - Number(colourOf(app, b) !== null));
  for (const c of ordered)
    box.append(svg("g", {"data-c": c.index, class: `series ${colour(app, c)}`}, svg("title", {}, `${c.name}: ${shown(c.scores[main], measure?.digits ?? 3)}`),
      svg("path", {class: "line", d: path([...axes.map(a => [a.x, a.y(c.settings[a.key] ?? "")] as const), [last, yScore(c.scores[main]?.value ?? low)] as const])})));
  for (const a of axes) {
    const short = study.shortSetting.get(a.key) ?? a.key;
    box.append(svg("line", {class: "axis", x1: a.x, x2: a.x, y1: top, y2: high - top}), svg("text", {x: a.x, y: 14, "text-anchor": "middle", class: "title"}, short));
    const shownValues = a.values.length > 12 ? a.values.filter((_, i) => i % Math.ceil(a.values.length / 12) === 0) : a.values;
    for (const v of shownValues) {
      const pick = () => app.change({query: `${app.view.query} ${condition(short, v)}`.trim()});
      const words = svg("text", {class: "value", x: a.x - 8, y: a.y(v) + 4, "text-anchor": "end", role: "button", tabindex: 0, "aria-label": `keep ${short} ${v}`, click: pick,
        keydown: (e: KeyboardEvent) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pick(); } }}, v === "" ? "none" : v.length > 16 ? `…${v.slice(-15)}` : v);
      if (v.length > 16) words.append(svg("title", {}, v));
      box.append(words);
    }
  }
  box.append(svg("line", {class: "axis", x1: last, x2: last, y1: top, y2: high - top}), svg("text", {x: last, y: 14, "text-anchor": "middle", class: "title"}, measure?.short ?? ""),
    svg("text", {x: last + 8, y: top + 14}, fixed(up, 2)), svg("text", {x: last + 8, y: high - top + 4}, fixed(low, 2)));
  return scrolling("Settings and score", box);
}

/** The mean of each cell of two settings, with its seeds and what failed there. */
function heatMap(app: App): Node[] | null {
  const {study} = app, main = measureIndex(app), measure = measureOf(app);
  const wanted = ["lora.rank", "optimizer.lr"].filter(k => study.settings.includes(k)), pair = [...wanted, ...study.settings.filter(k => !wanted.includes(k))].slice(0, 2);
  const [one, two] = pair;
  if (one === undefined || two === undefined || !measure) return null;
  const firsts = sortedUnique(study.configurations.map(c => c.settings[one] ?? "")), seconds = sortedUnique(study.configurations.map(c => c.settings[two] ?? ""));
  if (firsts.length > 20 || seconds.length > 20) return null;
  const values = study.configurations.map(c => c.scores[main]?.value).filter((v): v is number => v !== undefined), low = Math.min(...values), high = Math.max(...values);
  const rows = firsts.map(a => h("tr", {}, h("th", {scope: "row"}, a), ...seconds.map(b => {
    const here = study.configurations.filter(c => c.settings[one] === a && c.settings[two] === b), scored = here.filter(c => c.scores[main]);
    const trials = here.flatMap(c => c.trials), lost = trials.filter(t => t.state !== "done").length, seeds = scored.reduce((n, c) => n + c.seeds.length, 0);
    if (!here.length) return h("td", {class: "none"}, "not tried");
    const mean = scored.length ? scored.reduce((sum, c) => sum + (c.scores[main]?.value ?? 0), 0) / scored.length : null;
    const cell = h("td", {"data-c": here[0]?.index ?? ""}, h("b", {}, mean === null ? "–" : fixed(mean, measure.digits)), h("small", {}, `n=${seeds}${lost ? `, ${lost} not done` : ""}`));
    if (mean !== null) cell.style.setProperty("--heat", String(Math.round((high > low ? (mean - low) / (high - low) : 0.5) * 42)));
    return cell;
  })));
  const names = [one, two].map(k => study.shortSetting.get(k) ?? k);
  return [h("h3", {}, `${names[0]} and ${names[1]}`), note(`Mean of ${measure.name}; n: trials.${study.settings.length > 2 ? " Where other settings vary too, the mean is over them." : ""}`),
    scrolling("Two settings", h("table", {class: "heat", id: "heat"}, h("thead", {}, h("tr", {}, h("td", {}, `${names[0]} ↓ ${names[1]} →`), ...seconds.map(b => h("th", {scope: "col"}, b)))), h("tbody", {}, ...rows)))];
}

// --- training
export function curve(c: Configuration, kind: number): {points: [number, number][]; band: [number, number, number][]} {
  const at = new Map<number, number[]>();
  for (const t of c.trials) for (const [step, value] of t.curves[kind] ?? []) at.set(step, [...(at.get(step) ?? []), value]);
  const steps = [...at.keys()].sort((a, b) => a - b), mean = (v: readonly number[]) => v.reduce((x, y) => x + y, 0) / v.length;
  return {points: steps.map(s => [s, mean(at.get(s) ?? [])]), band: steps.map(s => [s, Math.min(...(at.get(s) ?? [])), Math.max(...(at.get(s) ?? []))])};
}

function training(app: App): Node[] {
  const list = chosen(app), found: Node[] = [legend(app, list)], charts = h("div", {class: "charts"});
  app.study.curves.forEach((name, kind) => {
    const all = list.map(c => ({c, ...curve(c, kind)})).filter(x => x.points.length);
    if (!all.length) return;
    const drawn = all.map(({c, points, band}): Line => ({colour: colour(app, c), name: c.name, configuration: c.index, points, ...(c.seeds.length > 1 ? {band} : {})}));
    const rows = all.map(({c, points}) => { const first = points[0], last = points.at(-1); return h("tr", {"data-c": c.index}, h("th", {scope: "row"}, swatch(app, c), c.name), h("td", {}, first && last ? `${fixed(first[1], 3)} at step ${first[0]} → ${fixed(last[1], 3)} at step ${last[0]}` : "")); });
    charts.append(h("figure", {class: "curve"}, h("h3", {}, name), lines(`${name} by training step; the first and last values are in the table below`, "training step", drawn, wide(520), 260), h("table", {class: "plain-table"}, h("tbody", {}, ...rows))));
  });
  if (!charts.childElementCount) return [...found, nothing("These trials left no record of their training.")];
  return [...found, note("Mean over the seeds; the band spans all of them."), charts];
}

// --- classes
function classes(app: App): Node[] {
  const {study, view} = app, list = chosen(app), which = Math.max(0, study.classMeasures.indexOf(view.classMeasure));
  const score = (c: Configuration, i: number): Score | null => c.classes[which]?.[i] ?? null;
  const level = (i: number) => { const v = list.map(c => score(c, i)?.value).filter((x): x is number => x !== undefined); return v.length ? v.reduce((a, b) => a + b, 0) / v.length : 2; };
  let order = study.scored.map((cls, i) => ({cls, i, level: level(i)})).sort((a, b) => a.level - b.level);
  const many = order.length > MANY_CLASSES;
  if (many && !view.allClasses) order = order.slice(0, MANY_CLASSES);
  const every = h("input", {type: "checkbox", "data-k": "all-classes", change: () => app.change({allClasses: every.checked})});
  every.checked = view.allClasses;
  const rows = order.map(({cls, i}) => h("tr", {}, h("th", {scope: "row"}, className(study, cls)),
    ...list.map(c => { const s = score(c, i); return h("td", {"data-c": c.index}, h("span", {class: "line"}, s ? range(s.value, s.low, s.high, [0, 1], 120, colour(app, c)) : "", s ? fixed(s.value, 2) : "not measured"), h("small", {}, s ? `${interval(s.low, s.high, 2)} n=${s.n}` : "")); }),
    h("td", {}, taken(app, list[0], cls))));
  return [h("p", {class: "tools"}, choice(app, "Measure", "classMeasure", study.classMeasures[which] ?? "", study.classMeasures.map(m => [m, m])), many ? h("label", {id: "all-classes"}, every, " all classes") : null),
    note("Weakest class first. Mean over the seeds and the range of the seeds; of one seed the 95% interval."),
    scrolling("Class by class", h("table", {class: "plain-table", id: "classes"}, h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "class"), ...list.map(c => h("th", {scope: "col", "data-c": c.index}, swatch(app, c), c.name)), h("th", {scope: "col"}, list[0] ? `most often taken for, by the gate (${list[0].name})` : ""))), h("tbody", {}, ...rows)))];
}

/** What first attempts of a class are taken for most, by the gate. */
export function taken(app: App, c: Configuration | undefined, cls: number): string {
  const row = c?.matrices[0]?.[cls] ?? [], n = row.reduce((a, b) => a + b, 0);
  const worst = row.map((count, other) => ({count, other})).filter(x => x.other !== cls).sort((a, b) => b.count - a.count)[0];
  return worst && worst.count ? `${className(app.study, worst.other)} (${worst.count} of ${n})` : n ? "nothing else" : "not known";
}

// --- cost
function cost(app: App): Node[] {
  const {study} = app, main = measureIndex(app), measure = measureOf(app), at = study.measures.findIndex(m => m.alias === "cost");
  const all = study.configurations.flatMap(c => { const x = c.scores[at]?.value, y = c.scores[main]?.value; return x === undefined || y === undefined ? [] : [{c, x, y}]; });
  if (!measure || at < 0 || at === main || !all.length) return [nothing("Cost and score are not both measured; choose another score.")];
  const better = (a: number, b: number) => (a - b) * measure.better;
  const front = all.filter(p => !all.some(o => o !== p && o.x <= p.x && better(o.y, p.y) >= 0 && (o.x < p.x || better(o.y, p.y) > 0))).sort((a, b) => a.x - b.x);
  const bounds = (v: number[]): [number, number] => { const low = Math.min(...v), high = Math.max(...v), pad = (high - low || Math.abs(high) || 1) * 0.08; return [low - pad, high + pad]; };
  const {box, x, y} = frame(`${measure.name} against cost`, "seconds of drawing for each accepted image", bounds(all.map(p => p.x)), bounds(all.map(p => p.y)), wide(720), 340);
  box.append(svg("path", {class: "front", d: path(front.map(p => [x(p.x), y(p.y)] as const))}));
  for (const p of all) box.append(svg("g", {"data-c": p.c.index, class: `series ${colour(app, p.c)}`}, svg("title", {}, `${p.c.name}: ${fixed(p.y, measure.digits)} at ${fixed(p.x, 2)} s`), svg("circle", {class: "dot", cx: x(p.x), cy: y(p.y), r: 5})));
  const rows = front.map(p => h("tr", {"data-c": p.c.index}, h("th", {scope: "row"}, swatch(app, p.c), p.c.name), h("td", {}, `${fixed(p.x, 2)} s for each accepted image`), h("td", {}, shown(p.c.scores[main], measure.digits))));
  return [h("h3", {}, `${measure.name} against cost`), note(`A point is a configuration. The line joins those that no other beats in both cost and ${measure.name}.`), legend(app, chosen(app)), scrolling("Cost and score", box),
    h("h3", {}, "Beaten by none in both"), scrolling("Beaten by none in both", h("table", {class: "plain-table", id: "front"}, h("tbody", {}, ...rows)))];
}

// --- compare
function compare(app: App): Node[] {
  const {study, view} = app, list = chosen(app), base = list.find(c => c === baseline(app)) ?? list[0];
  if (list.length < 2 || !base) return [nothing("Tick two to eight configurations in the table above.")];
  const head = (corner: string) => h("thead", {}, h("tr", {}, h("th", {scope: "col"}, corner), ...list.map(c => h("th", {scope: "col", "data-c": c.index}, swatch(app, c), c.name, c === base ? h("small", {}, "★ compared with") : null))));
  const unlike = study.settings.filter(k => new Set(list.map(c => c.settings[k] ?? "")).size > 1), alike = study.settings.filter(k => !unlike.includes(k));
  const setting = h("table", {class: "plain-table", id: "unlike"}, head("setting"), h("tbody", {}, ...unlike.map(k => h("tr", {}, h("th", {scope: "row"}, h("code", {}, k)), ...list.map(c => h("td", {class: c.settings[k] === base.settings[k] ? "" : "changed"}, c.settings[k] ?? "not set")))),
    h("tr", {}, h("th", {scope: "row"}, "seeds done"), ...list.map(c => h("td", {}, c.seeds.join(", ") || "none")))));
  const same = h("details", {}, h("summary", {}, `${alike.length + Object.keys(study.common).length} settings in which they are alike`),
    h("dl", {class: "facts"}, ...[...alike.map(k => [k, list[0]?.settings[k] ?? ""]), ...Object.entries(study.common)].sort((a, b) => inOrder(a[0] ?? "", b[0] ?? "")).flatMap(([k = "", v = ""]) => [h("dt", {}, k), h("dd", {}, v)])));
  const measures = h("table", {class: "plain-table", id: "scores"}, head("score"), h("tbody", {}, ...study.measures.filter((_, i) => list.some(c => c.scores[i])).map(m => {
    const i = study.measures.indexOf(m);
    return h("tr", {}, h("th", {scope: "row", title: m.help}, m.name, h("small", {}, m.better === 1 ? "higher is better" : "lower is better")), ...list.map(c => {
      const d = c === base ? null : difference(study, i, c, base);
      return h("td", {class: d?.plain ? "plain" : ""}, shown(c.scores[i], m.digits), d ? h("small", {}, `${shownDifference(d, m.digits)} ${d.plain === null ? "noise not known" : d.plain ? "beyond noise" : "within noise"}`) : null);
    }));
  })));
  return [h("h3", {}, "What differs in their settings"), scrolling("Settings that differ", setting), same,
    h("h3", {}, "Scores"), note("Mean over the seeds, 95% interval, n. Below: the difference from ★, paired over seeds, its interval corrected for all pairs of configurations."), scrolling("Scores", measures),
    ...confusion(app, list, base), h("h3", {}, "Images, slot by slot, with all attempts"), note(`${className(study, columnsOf(app, 1)[0]?.cls ?? null)}${view.cls ? "" : " and the other classes"}: attempts in their order; under each the gate’s word.`), attempts(app, list),
    h("h3", {}, "How to make each trial again"), ...list.flatMap(c => [h("h4", {"data-c": c.index}, swatch(app, c), c.name), ...c.trials.map(t => h("div", {class: "again"}, h("span", {class: `pill ${t.state}`}, `seed ${t.seed || "unknown"} ${t.state}`),
      t.problem ? h("span", {class: "why"}, t.problem) : null, t.command ? copyable(t.command, `the command of seed ${t.seed}`) : null))])];
}

function confusion(app: App, list: readonly Configuration[], base: Configuration): Node[] {
  const {study} = app, which = study.matrices.findIndex((_, i) => list.some(c => c.matrices[i]?.length));
  if (which < 0 || study.classes.length > MANY_CLASSES) return [note("Confusion matrices of so many classes or trials are on the trials’ own pages.")];
  const kind = app.view.matrix in study.matrices ? Number(app.view.matrix) : which, [stage, scorer] = study.matrices[kind] ?? ["", ""];
  const select = h("select", {"data-k": "matrix", change: () => app.change({matrix: select.value})}, ...study.matrices.map(([a, b], i) => h("option", {value: i}, `${a}, by the ${b}`)));
  select.value = String(kind);
  const table = (c: Configuration, rows: number[][], minus: number[][] | null) => {
    const share = (m: number[][], i: number, j: number) => { const n = (m[i] ?? []).reduce((a, b) => a + b, 0); return n ? (m[i]?.[j] ?? 0) / n : 0; };
    return h("table", {class: "matrix"}, h("caption", {}, c.name, minus ? ", minus ★ (percentage points)" : ""), h("thead", {}, h("tr", {}, h("td", {}, "asked ↓ named →"), ...study.classes.map(([, name], i) => h("th", {scope: "col", title: name}, h("span", {}, shortClass(study, i)))))),
      h("tbody", {}, ...rows.map((row, i) => h("tr", {}, h("th", {scope: "row"}, study.classes[i]?.[1] ?? ""), ...row.map((count, j) => {
        const value = minus ? share(rows, i, j) - share(minus, i, j) : share(rows, i, j);
        const cell = h("td", {class: `${i === j ? "own" : ""}${minus ? (value * (i === j ? 1 : -1) >= 0 ? " gain" : " loss") : ""}`}, minus ? (Math.round(100 * value) ? fixed(100 * value, 0) : "") : count ? String(count) : "");
        cell.style.setProperty("--heat", String(Math.round(Math.min(1, Math.abs(value) * (minus ? 2 : 1)) * 38)));
        return cell;
      })))));
  };
  const own = base.matrices[kind] ?? [];
  const made = list.flatMap(c => { const m = c.matrices[kind] ?? []; return m.length ? [h("div", {"data-c": c.index, class: "pair"}, table(c, m, null), c !== base && own.length ? table(c, m, own) : null)] : []; });
  return [h("h3", {}, "Confusion matrices and their difference"), h("p", {class: "tools"}, h("label", {}, "Images ", select)), note(`Counts of images ${stage}, named by the ${scorer}, over all seeds; rows: asked for.`), scrolling("Confusion matrices", h("div", {class: "matrices", id: "matrices"}, ...made))];
}

function attempts(app: App, list: readonly Configuration[]): HTMLElement {
  const slots = columnsOf(app, 9), side = 64;
  const rows = list.filter(hasImages).map(c => {
    const t = pictured(app, c);
    return h("tr", {"data-c": c.index}, h("th", {scope: "row"}, swatch(app, c), c.name, h("small", {}, t ? `seed ${t.seed}` : "")), ...slots.map(s => h("td", {}, h("div", {class: "tries"}, ...(t?.attempts().get(slotKey(s.cls, s.slot)) ?? []).map(a =>
      h("figure", {}, t ? tile(app, t, a, side, "try") : null, h("figcaption", {}, a.accepted ? `${a.attempt + 1}: accepted` : `${a.attempt + 1}: ${a.seen !== null && a.seen !== a.class ? `seen as ${className(app.study, a.seen)}` : a.reason || "rejected"}`)))))));
  });
  return scrolling("All attempts", h("table", {class: "images tried", id: "attempts"}, h("thead", {}, h("tr", {}, h("td", {}), ...slots.map(s => h("th", {scope: "col"}, h("span", {}, s.head))))), h("tbody", {}, ...rows)));
}

export const DRAWN: Record<Tab, {name: string; draw: (app: App) => Node[]}> = {
  images: {name: "Images", draw: images}, settings: {name: "Settings", draw: settings}, training: {name: "Training", draw: training},
  classes: {name: "Classes", draw: classes}, cost: {name: "Cost", draw: cost}, compare: {name: "Compare", draw: compare},
};
