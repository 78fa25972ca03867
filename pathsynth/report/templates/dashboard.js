"use strict";
(() => {
const study = JSON.parse(document.getElementById("study").textContent);
const $ = id => document.getElementById(id);
const trials = study.trials, chosen = new Set();
const el = (tag, text, attributes = {}) => {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
// Plotly reads a little HTML in its texts; what users typed must stay text.
const inert = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const mean = values => values.reduce((a, b) => a + b, 0) / values.length;
const isNumber = text => String(text).trim() !== "" && !isNaN(text);
// Numbers by their value (1e-5 before 0.0003), and before words.
const inOrder = (a, b) => isNumber(a) && isNumber(b) ? a - b : isNumber(b) - isNumber(a) || String(a).localeCompare(String(b), undefined, {numeric: true});
const unique = values => [...new Set(values)].sort(inOrder);
const metric = (t, name, stage, scorer, slug = null) => {
  const m = t.metrics.find(r => r[0] === name && r[1] === stage && r[2] === scorer && r[3] === slug);
  return m ? {value: m[4], low: m[5], high: m[6], n: m[7]} : null;
};
const BEFORE = "before filtering";
const main = t => metric(t, "macro_f1", BEFORE, study.scorer);
const shown = (m, digits = 3) => !m ? "" : m.value.toFixed(digits) + (m.low === null ? "" : ` [${m.low.toFixed(digits)}, ${m.high.toFixed(digits)}]`);
const params = unique(trials.flatMap(t => Object.keys(t.params)));

const done = trials.filter(main);
const best = study.configurations.map(c => ({config: c.label, f1: c.mean, error: c.error, student: c.student, trials: done.filter(t => t.config === c.label)}));

// --- the table
const number = (title, get, digits) => ({title, get: t => get(t)?.value ?? null, text: t => { const m = get(t); return m ? `${shown(m, digits)} n=${m.n}` : ""; }});
const plain = (title, get, digits = 1) => ({title, get, text: t => { const v = get(t); return v === null || v === undefined ? "" : typeof v === "number" ? v.toFixed(digits) : v; }});
const typed = value => value !== undefined && value !== "" && !isNaN(value) ? Number(value) : value ?? null;
// Metrics of the user's own over all classes: no classifier of ours is their scorer.
const own = unique(trials.flatMap(t => t.metrics.filter(m => m[2] === null && m[3] === null).map(m => JSON.stringify(m.slice(0, 2))))).map(key => JSON.parse(key));
const columns = [
  {title: "trial", get: t => t.name, text: t => t.name, link: true},
  ...params.map(p => ({title: p, get: t => typed(t.params[p]), text: t => t.params[p] ?? ""})),
  number("F1, gate", t => metric(t, "macro_f1", BEFORE, "gate")), number("F1, judge", t => metric(t, "macro_f1", BEFORE, "judge")),
  number("acceptance", t => metric(t, "acceptance", BEFORE, "gate")), plain("cost, s", t => t.cost, 2),
  number("attempts per accepted", t => metric(t, "attempts_per_accepted", BEFORE, "gate"), 2),
  number("KID", t => metric(t, "kid", BEFORE, "judge"), 4), ...own.map(([name, stage]) => number(`${name}, ${stage}`, t => metric(t, name, stage, null))),
  plain("time, s", t => t.seconds, 0),
  {title: "state", get: t => t.state, text: t => t.problem ? `${t.state}: ${t.problem}` : t.state},
].map(c => ({...c, visible: true}));
let order = {column: null, down: false};
// What a filter such as rank=1, f1>0.5 or state:failed can name: settings by their name or its last part, and scores.
const FIELDS = new Map([["seed", t => t.seed], ["state", t => t.state], ["f1", t => main(t)?.value], ["cost", t => t.cost],
  ["acceptance", t => metric(t, "acceptance", BEFORE, "gate")?.value], ["kid", t => metric(t, "kid", BEFORE, "judge")?.value],
  ...params.flatMap(p => [p, p.split(".").at(-1)].map(name => [name.toLowerCase(), t => t.params[p]]))]);
function condition(word) {
  const [, name, sign, wanted] = word.match(/^([^<>=:!]+)(<=|>=|!=|=|<|>|:)(.+)$/) ?? [], get = FIELDS.get(name);
  if (!get) return t => `${t.name} ${t.config} seed=${t.seed} ${t.state} ${t.problem}`.toLowerCase().includes(word);
  return t => {
    const value = get(t);
    if (value === undefined || value === null || value === "") return false;
    const both = isNumber(value) && isNumber(wanted), same = both ? Number(value) === Number(wanted) : String(value).toLowerCase().includes(wanted);
    switch (sign) {
      case "=": case ":": return same;
      case "!=": return !same;
      case "<": return both && Number(value) < wanted;
      case ">": return both && Number(value) > wanted;
      case "<=": return both && Number(value) <= wanted;
      default: return both && Number(value) >= wanted;
    }
  };
}
const matching = () => {
  const conditions = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean).map(condition);
  const found = trials.filter(t => conditions.every(holds => holds(t)));
  if (!order.column) return found;
  const {get} = order.column, sign = order.down ? -1 : 1;
  return found.sort((a, b) => { const x = get(a), y = get(b); if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, {numeric: true})); });
};
function drawTable() {
  const head = el("tr"); head.append(el("th", "compare"));
  const visible = columns.filter(c => c.visible);
  for (const c of visible) {
    const cell = el("th", null, {"aria-sort": order.column === c ? (order.down ? "descending" : "ascending") : "none"});
    const button = el("button", c.title + (order.column === c ? (order.down ? " ↓" : " ↑") : ""), {type: "button"});
    button.onclick = () => { order = {column: c, down: order.column === c ? !order.down : true}; drawTable(); };
    cell.append(button); head.append(cell);
  }
  $("trials").tHead.replaceChildren(head);
  $("trials").tBodies[0].replaceChildren(...matching().map(t => {
    const row = el("tr"), tick = el("input", null, {type: "checkbox", "aria-label": `compare ${t.name}, seed ${t.seed}`});
    tick.checked = chosen.has(t); tick.disabled = !t.metrics.length;
    tick.onchange = () => { if (tick.checked && chosen.size >= 8) { tick.checked = false; return; } tick.checked ? chosen.add(t) : chosen.delete(t); compare(); };
    const first = el("td"); first.append(tick); row.append(first);
    for (const c of visible) { const cell = el("td"); if (c.link && t.link) cell.append(el("a", c.text(t), {href: t.link})); else cell.textContent = c.text(t); if (c.link && t.address) cell.append(" ", el("a", "W&B", {href: t.address, title: "this trial's run in W&B"})); row.append(cell); }
    return row;
  }));
}
for (const c of columns) {
  const label = el("label"), box = el("input", null, {type: "checkbox"}); box.checked = true;
  box.onchange = () => { c.visible = box.checked; drawTable(); };
  label.append(box, " " + c.title); $("columns").append(label, " ");
}
$("filter").oninput = drawTable; drawTable();
const failed = trials.filter(t => t.state === "failed" || t.state === "unreadable" || t.state === "interrupted");
$("failures").hidden = !failed.length;
$("failures").querySelector("ul").append(...failed.map(t => el("li", `${t.name} (${t.config}, seed ${t.seed}), ${t.state}: ${t.problem || "no reason was written"}`)));

// --- chosen trials
function difference(a, b) {
  const x = best.find(c => c.config === a), y = best.find(c => c.config === b);
  if (!x || !y) return "unknown";
  if (x.error === null || y.error === null) return `${(x.f1 - y.f1).toFixed(3)}; no interval, for the noise is not known`;
  const half = x.student * Math.hypot(x.error, y.error);
  return `${(x.f1 - y.f1).toFixed(3)} [${(x.f1 - y.f1 - half).toFixed(3)}, ${(x.f1 - y.f1 + half).toFixed(3)}]`;
}
function compare() {
  const list = [...chosen]; $("compare").hidden = list.length < 2;
  if (list.length < 2) return;
  const table = el("table"), means = el("table"), addTo = table => (name, cells) => { const row = el("tr"); row.append(el("th", name, {scope: "row"}), ...cells.map(c => el("td", c))); table.append(row); }, add = addTo(table);
  add("trial", list.map(t => t.name)); add("seed", list.map(t => t.seed));
  for (const p of params) if (p !== "seed" && new Set(list.map(t => t.params[p])).size > 1) add(p, list.map(t => t.params[p] ?? ""));
  for (const c of columns.filter(c => !params.includes(c.title) && !c.link)) add(c.title, list.map(c.text));
  const box = el("div", null, {class: "scroll"}); box.append(table);
  // Means over all seeds are of configurations: they have a table of their own.
  const configs = list.map(t => t.config).filter((c, i, all) => all.indexOf(c) === i), addMean = addTo(means);
  addMean("configuration", configs);
  addMean("seeds", configs.map(c => String(trials.filter(t => t.config === c && main(t)).length)));
  addMean(`mean F1, ${study.scorer}`, configs.map(c => best.find(x => x.config === c)?.f1.toFixed(3) ?? "unknown"));
  if (configs.length > 1) addMean("minus the first’s", configs.map((c, i) => i ? difference(c, configs[0]) : "–"));
  const below = el("div", null, {class: "scroll"}); below.append(means);
  $("compared").replaceChildren(el("h3", "Trials"), box, el("h3", "Their configurations, over all seeds"), below, ...list.flatMap(t => [el("h3", `${t.config}, seed ${t.seed}`), tiles(t, $("tissue").value)]));
}

// --- images
function tile(t, which) {
  const {url, size, columns: wide} = t.sprite, i = t.sprite.tiles.indexOf(which);
  const button = el("button", null, {type: "button", class: "tile", "aria-label": `${which.kind} ${study.classes[which.slug] ?? which.slug}, slot ${which.slot}, ${t.config}, seed ${t.seed}`});
  const draw = (node, side) => { node.style.width = node.style.height = side + "px"; node.style.backgroundImage = `url("${url}")`;
    node.style.backgroundSize = `${wide * side}px auto`; node.style.backgroundPosition = `${-(i % wide) * side}px ${-Math.floor(i / wide) * side}px`; };
  draw(button, Math.max(48, size)); button.dataset.slot = which.slot; button.dataset.kind = which.kind;
  button.onclick = () => {
    const large = el("div", null, {class: "tile large", role: "img", "aria-label": button.getAttribute("aria-label")}); draw(large, 256);
    const facts = el("dl"); for (const [k, v] of Object.entries({trial: t.name, kind: which.kind, tissue: which.slug, slot: which.slot, ...which.row})) facts.append(el("dt", k), el("dd", v));
    $("enlarged").firstElementChild.replaceChildren(large, facts); $("enlarged").showModal();
  };
  return button;
}
function tiles(t, slug) {
  const box = el("div", null, {class: "slots"});
  if (!t.sprite) { box.textContent = "This trial kept no images."; return box; }
  for (const kind of ["first", "accepted", "real"]) {
    const found = t.sprite.tiles.filter(x => x.slug === slug && x.kind === kind);
    if (kind === "real" && !found.length) continue;
    const line = el("div", null, {class: "slot-line"}); line.append(el("span", {first: "first attempts", accepted: "accepted", real: "real"}[kind]));
    const slots = Math.max(0, ...t.sprite.tiles.map(x => x.slot + 1));
    for (let s = 0; s < slots; s++) { const x = found.find(y => y.slot === s); const side = Math.max(48, t.sprite.size);
      if (x) line.append(tile(t, x)); else { const gap = el("span", "–", {class: "gap", title: "no image"}); gap.style.width = side + "px"; line.append(gap); } }
    box.append(line);
  }
  return box;
}
for (const slug of study.pictured) $("tissue").append(el("option", study.classes[slug], {value: slug}));
const pictured = trials.filter(t => t.sprite).sort((a, b) => (main(b)?.value ?? -1) - (main(a)?.value ?? -1));
pictured.forEach((t, i) => { const o = el("option", `${t.config}, seed ${t.seed} (F1 ${shown(main(t)).split(" ")[0]})`, {value: i}); $("shown").append(o); });
// The best configuration against the worst, at a training seed that both have where there is one.
const pairs = best.length ? best[0].trials.flatMap(x => best.at(-1).trials.map(y => [x, y])).filter(p => p.every(t => t.sprite)) : [];
for (const t of pairs.find(([x, y]) => x.seed === y.seed) ?? pairs[0] ?? pictured.slice(0, 2)) $("shown").options[pictured.indexOf(t)].selected = true;
const drawImages = () => { $("images").replaceChildren(...[...$("shown").selectedOptions].flatMap(o => { const t = pictured[o.value]; return [el("h3", o.textContent), tiles(t, $("tissue").value)]; })); };
$("shown").onchange = drawImages; $("tissue").onchange = () => { drawImages(); compare(); }; drawImages();

// --- plots
const dark = matchMedia("(prefers-color-scheme: dark)");
// On a phone the legend stands below the plot and the toolbar, which would cover the title, is left out.
const narrow = matchMedia("(max-width: 640px)");
const axis = given => ({gridcolor: dark.matches ? "#37323f" : "#eeecf2", linecolor: dark.matches ? "#6a6475" : "#8b8794", zeroline: false, automargin: true, ...(narrow.matches ? {tickfont: {size: 10}} : {}), ...given});
const plot = (id, data, {title, height = 360, xaxis, yaxis, ...layout} = {}) => {
  const named = narrow.matches ? data.filter(trace => trace.name && trace.showlegend !== false).length : 0, legend = named > 1;
  return Plotly.react(id, data, {
    height: height + (legend ? 24 * named + 20 : 0), margin: {l: narrow.matches ? 20 : 70, r: 20, t: 40, b: 60}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {color: dark.matches ? "#e8e5ee" : "#25222b"}, xaxis: axis(xaxis), yaxis: axis(yaxis),
    ...(legend ? {legend: {orientation: "h", x: 0, y: -.25, yanchor: "top"}} : {}), ...layout, title: {text: title, font: {size: narrow.matches ? 12 : 14}, x: narrow.matches ? .02 : .5, xanchor: narrow.matches ? "left" : "center"}},
    {displaylogo: false, responsive: true, displayModeBar: narrow.matches ? false : "hover", showSendToCloud: false, modeBarButtonsToRemove: ["sendDataToCloud", "sendChartToCloud"], plotlyServerURL: ""});
};
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#b5a900"];
// From low to high; each has a contrast of 3:1 to the page at least.
const SHADES = ["#440154", "#3b528b", "#21818c", "#2f8f3f", "#8a7d00"], DARK_SHADES = ["#9a78d0", "#7c9be0", "#2fb3a9", "#7fdc82", "#efe04a"];
function drawParallel() {
  const scores = done.map(t => main(t).value), low = Math.min(...scores), span = Math.max(...scores) - low || 1;
  const axes = params.map(p => { const values = unique(done.map(t => t.params[p] ?? "")); return {name: p, at: t => values.length > 1 ? values.indexOf(t.params[p] ?? "") / (values.length - 1) : .5, values}; });
  // A trace for each shade, with gaps between its trials: hundreds of traces take seconds to draw.
  const shades = (dark.matches ? DARK_SHADES : SHADES).map(colour => ({x: [], y: [], text: [], mode: "lines+markers", line: {color: colour, width: 1.5}, marker: {size: 5}, showlegend: false, hoverinfo: "text"}));
  for (const t of done) {
    const share = (main(t).value - low) / span, shade = shades[Math.min(4, Math.floor(share * 5))], told = inert(`${t.config}, seed ${t.seed}: ${shown(main(t))}`);
    shade.x.push(...axes.keys(), axes.length, null); shade.y.push(...axes.map(a => a.at(t)), share, null); shade.text.push(...axes.map(() => told), told, null);
  }
  const notes = axes.flatMap((a, i) => a.values.map((v, k) => ({x: i, y: a.values.length > 1 ? k / (a.values.length - 1) : .5, text: inert(v), showarrow: false, xanchor: "right", xshift: -7, font: {size: 11}, bgcolor: dark.matches ? "#1b1822" : "#fff", borderpad: 1})));
  const lines = [...axes.keys(), axes.length].map(i => ({type: "line", x0: i, x1: i, y0: 0, y1: 1, layer: "below", line: {width: 1, color: dark.matches ? "#6a6475" : "#8b8794"}}));
  plot("parallel", shades.filter(shade => shade.x.length), {title: `settings and macro-F1, ${study.scorer}`, annotations: notes, shapes: lines, xaxis: {showgrid: false, showline: false, tickvals: [...axes.keys(), axes.length], ticktext: [...axes.map(a => inert(a.name)), `F1 ${low.toFixed(2)}–${(low + span).toFixed(2)}`], range: [-.5, axes.length + .2]}, yaxis: {showgrid: false, showline: false, showticklabels: false, range: [-.08, 1.08]}});
}
function drawHeat() {
  const steps = $("steps").querySelector("select"), some = done.filter(t => !steps || (t.params["trainer.max_steps"] ?? "") === steps.value);
  const ranks = unique(some.map(t => t.params["lora.rank"] ?? "")), rates = unique(some.map(t => t.params["optimizer.lr"] ?? ""));
  const z = ranks.map(r => rates.map(l => { const v = some.filter(t => t.params["lora.rank"] === r && t.params["optimizer.lr"] === l).map(t => main(t).value); return v.length ? mean(v) : null; }));
  plot("heat", [{type: "heatmap", x: rates.map(inert), y: ranks.map(inert), z, colorscale: "Viridis", texttemplate: "%{z:.3f}"}], {title: "mean macro-F1, rank × learning rate", xaxis: {type: "category", title: {text: "learning rate"}}, yaxis: {type: "category", title: {text: "rank"}}});
}
function drawCost() {
  const points = best.map(c => ({c, cost: c.trials.map(t => t.cost).filter(v => v !== null)})).filter(p => p.cost.length).map(p => ({config: p.c.config, f1: p.c.f1, cost: Number(mean(p.cost).toPrecision(6))}));
  const front = points.filter(p => !points.some(o => o !== p && o.cost <= p.cost && o.f1 >= p.f1 && (o.cost < p.cost || o.f1 > p.f1))).sort((a, b) => a.cost - b.cost);
  const trace = (list, name, extra) => ({x: list.map(p => p.cost), y: list.map(p => p.f1), text: list.map(p => inert(p.config)), name, ...extra});
  plot("cost", [trace(points, "configurations", {mode: "markers", marker: {color: COLOURS[0], size: 9}}), trace(front, "Pareto front", {mode: "lines+markers", line: {color: COLOURS[5]}, marker: {symbol: "diamond", size: 11}})], {title: "cost against quality", xaxis: {title: {text: "seconds per accepted image"}}, yaxis: {title: {text: "macro-F1"}}});
}
function drawCurves() {
  const traces = best.slice(0, 8).flatMap((c, i) => {
    const at = new Map(); c.trials.forEach(t => t.history.forEach(([s, v]) => at.set(s, [...(at.get(s) ?? []), v])));
    const steps = [...at.keys()].sort((a, b) => a - b); if (!steps.length) return [];
    const edge = pick => steps.map(s => pick(...at.get(s))), colour = COLOURS[i], group = String(i);
    return [{x: [...steps, ...[...steps].reverse()], y: [...edge(Math.max), ...edge(Math.min).reverse()], fill: "toself", fillcolor: colour + "30", line: {width: 0}, hoverinfo: "skip", showlegend: false, legendgroup: group, mode: "lines"},
      {x: steps, y: steps.map(s => mean(at.get(s))), mode: "lines+markers", line: {color: colour}, name: inert(c.config), legendgroup: group}]; });
  $("curves").hidden = !traces.length; if (traces.length) plot("curves", traces, {title: "macro-F1 in training (band: all seeds; the eight best)", xaxis: {title: {text: "step"}}});
}
const classMetrics = unique(done.flatMap(t => t.metrics.filter(m => m[3] !== null).map(m => m.slice(0, 3).join(" / "))));
for (const name of classMetrics) $("class-metric").append(el("option", name));
const MOST_CLASSES = 30;
$("all-classes").hidden = study.scored.length <= MOST_CLASSES;
// Of many classes the first shown are those with the lowest mean over the configurations shown.
function classesShown(some, get) {
  const slugs = study.scored, every = $("all-classes").querySelector("input").checked;
  if (slugs.length <= MOST_CLASSES || every) return slugs;
  const level = s => { const v = some.map(c => get(c, s)).filter(Boolean); return v.length ? mean(v.map(m => m.value)) : 2; };
  return slugs.map(s => [level(s), s]).sort((a, b) => a[0] - b[0]).slice(0, MOST_CLASSES).map(pair => pair[1]);
}
function drawClasses() {
  const [name, stage, scorer] = $("class-metric").value.split(" / "), some = best.slice(0, 8);
  // The mean over the seeds and their range; of one seed its interval.
  const level = (c, s) => {
    const found = c.trials.map(t => metric(t, name, stage, scorer, s)).filter(Boolean), values = found.map(m => m.value);
    if (found.length < 2) return found[0] ?? null;
    return {value: mean(values), low: Math.min(...values), high: Math.max(...values)};
  };
  const slugs = classesShown(some, level);
  plot("classes", some.map((c, i) => { const found = slugs.map(s => level(c, s)), n = c.trials.length;
    return {x: found.map(m => m?.value ?? null), y: slugs.map((_, k) => k + (i - (some.length - 1) / 2) * .09), mode: "markers", cliponaxis: false, name: inert(`${c.config} (${n} seed${n > 1 ? "s" : ""})`), marker: {color: COLOURS[i], size: 7},
      error_x: {type: "data", symmetric: false, array: found.map(m => m && m.high !== null ? m.high - m.value : 0), arrayminus: found.map(m => m && m.low !== null ? m.value - m.low : 0), thickness: 1.2, width: 0}}; }),
    {title: "by class: mean and range of the seeds (eight best)", height: 120 + 44 * Math.min(slugs.length, 9) + 20 * Math.max(0, slugs.length - 9), xaxis: {range: [-.02, 1.02]},
      yaxis: {tickvals: [...slugs.keys()], ticktext: slugs.map(s => inert(study.classes[s])), range: [slugs.length - .4, -.6]}});
}
function drawPlots() {
  drawParallel();
  if (study.effects.length) {
    const [names, steps, values, lows, highs] = [0, 1, 2, 3, 4].map(i => study.effects.map(e => e[i]));
    plot("effect-plot", [{type: "bar", orientation: "h", y: names.map(inert), x: values, hovertext: steps.map(inert), marker: {color: COLOURS[0]},
      error_x: {type: "data", symmetric: false, array: values.map((v, i) => highs[i] === null ? 0 : highs[i] - v), arrayminus: values.map((v, i) => lows[i] === null ? 0 : v - lows[i])}}],
      {title: "what each setting changes in macro-F1", height: 120 + 40 * names.length, yaxis: {autorange: "reversed"}});
  }
  const grid = params.includes("lora.rank") && params.includes("optimizer.lr"); $("heat").hidden = !grid; if (grid) drawHeat();
  drawCost(); drawCurves(); drawClasses();
}
if (params.includes("trainer.max_steps")) {
  const label = el("label", "Steps "), select = el("select"); for (const s of unique(done.map(t => t.params["trainer.max_steps"]))) select.append(el("option", s));
  select.onchange = drawHeat; label.append(select); $("steps").append(label);
}
$("class-metric").onchange = drawClasses; $("all-classes").onchange = drawClasses;
for (const media of [dark, narrow]) media.addEventListener("change", drawPlots);
// Table and images answer by now; the plots wait for Plotly, the last script of the page.
performance.mark("usable");
addEventListener("load", () => { drawPlots(); document.documentElement.dataset.ready = "yes"; });
})();
