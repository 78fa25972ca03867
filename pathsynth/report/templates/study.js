// Built from pathsynth/report/frontend/src by `make frontend`; change it there.
"use strict";
(() => {
  // src/data.ts
  var slotKey = (cls, slot) => `${cls}/${slot}`;
  var score = (flat) => flat ? { value: flat[0], low: flat[1] ?? null, high: flat[2] ?? null, n: flat[3] ?? 0 } : null;
  function shortNames(keys2) {
    const tail = (key, parts) => key.split(".").slice(-parts).join(".");
    return new Map(
      keys2.map((key) => {
        let parts = 1;
        while (tail(key, parts) !== key && keys2.some((other) => other !== key && tail(other, parts) === tail(key, parts))) parts += 1;
        return [key, tail(key, parts)];
      })
    );
  }
  var isNumber = (text) => text.trim() !== "" && !Number.isNaN(Number(text));
  function inOrder(a, b) {
    if (isNumber(a) && isNumber(b)) return Number(a) - Number(b);
    return Number(isNumber(b)) - Number(isNumber(a)) || a.localeCompare(b, void 0, { numeric: true });
  }
  var sortedUnique = (values) => [...new Set(values)].sort(inOrder);
  function pairs(flat) {
    const found = [];
    for (let i = 0; i + 1 < flat.length; i += 2) found.push([flat[i], flat[i + 1]]);
    return found;
  }
  function attemptsBySlot(flat, { draws, texts }) {
    const found = /* @__PURE__ */ new Map();
    let place = 0;
    for (let i = 0; i + 4 < flat.length; i += 5) {
      const [draw2, seen, probability, marks, judged] = flat.slice(i, i + 5);
      const [cls, slot, attempt, seed, prompt] = draws.slice(5 * draw2, 5 * draw2 + 5);
      const key = slotKey(cls, slot), image = (marks & 2) !== 0;
      const one = {
        class: cls,
        slot,
        attempt,
        seen: seen < 0 ? null : seen,
        judged: judged < 0 ? null : judged,
        probability: probability < 0 ? null : probability / 1e3,
        accepted: (marks & 1) !== 0,
        place: image ? place : null,
        reason: texts[marks >> 2] ?? "",
        seed: texts[seed] ?? "",
        prompt: texts[prompt] ?? ""
      };
      if (image) place += 1;
      const list = found.get(key);
      if (list) list.push(one);
      else found.set(key, [one]);
    }
    return found;
  }
  function matrix(flat, classes2) {
    if (!flat.length) return [];
    const rows = Array.from({ length: classes2 }, () => new Array(classes2).fill(0));
    for (const [place, count] of pairs(flat)) {
      const row = rows[Math.floor(place / classes2)];
      if (row) row[place % classes2] = count;
    }
    return rows;
  }
  function classScores(flat) {
    const found = [];
    for (let i = 0; i + 3 < flat.length; i += 4) {
      const value = flat[i] ?? null;
      found.push(value === null ? null : { value, low: flat[i + 1] ?? null, high: flat[i + 2] ?? null, n: flat[i + 3] ?? 0 });
    }
    return found;
  }
  function study(payload) {
    const settings2 = sortedUnique(payload.configurations.flatMap((c) => Object.keys(c.settings)));
    const shortSetting = shortNames(settings2);
    const describe2 = (c) => settings2.filter((key) => key in c.settings).map((key) => `${shortSetting.get(key) ?? key} ${c.settings[key] ?? ""}`).join(" · ") || c.label;
    const configurations = payload.configurations.map((c, index) => ({
      index,
      id: c.id,
      label: c.label,
      name: describe2(c),
      ranked: c.ranked,
      settings: c.settings,
      scores: c.scores.map(score),
      fits: c.fits.map(([mean, error]) => ({ mean, error })),
      classes: c.classes.map(classScores),
      matrices: c.matrices.map((flat) => matrix(flat, payload.classes.length)),
      trials: [],
      seeds: [],
      states: /* @__PURE__ */ new Map()
    }));
    const trials = payload.trials.map((t, index) => {
      const configuration = configurations[t.configuration];
      const images2 = t.sprite?.[3] ?? 0, real = pairs(t.real);
      let decoded = null;
      const trial = {
        index,
        name: t.name,
        source: t.source,
        maker: t.maker,
        link: t.link,
        address: t.address,
        configuration,
        seed: t.seed,
        state: t.state,
        problem: t.problem,
        command: t.command.map((i) => payload.texts[i] ?? "").join(" "),
        readings: t.readings.map(score),
        curves: t.curves.map(pairs),
        sprite: t.sprite && { url: t.sprite[0], size: t.sprite[1], columns: t.sprite[2], images: images2 },
        reel: t.reel && { url: t.reel[0], width: t.reel[1], height: t.reel[2], steps: t.reel.slice(3) },
        attempts: () => decoded ??= attemptsBySlot(t.attempts, payload),
        real: new Map(real.map(([cls, slot], i) => [slotKey(cls, slot), images2 - real.length + i]))
      };
      configuration.trials.push(trial);
      configuration.states.set(t.state, (configuration.states.get(t.state) ?? 0) + 1);
      return trial;
    });
    for (const c of configurations) {
      c.trials.sort((a, b) => inOrder(a.seed, b.seed));
      c.seeds = c.trials.filter((t) => t.state === "done").map((t) => t.seed);
    }
    return {
      ...payload,
      configurations,
      trials,
      settings: settings2,
      shortSetting,
      seeds: sortedUnique(trials.filter((t) => t.sprite).map((t) => t.seed))
    };
  }

  // src/dom.ts
  function fill(made, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === void 0 || value === false) continue;
      if (typeof value === "function") made.addEventListener(key, value);
      else made.setAttribute(key, value === true ? "" : String(value));
    }
    made.append(...children.filter((c) => c !== null && c !== void 0 && c !== false));
    return made;
  }
  var h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  var svg = (tag, attributes = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  function byId(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no #${id}`);
    return found;
  }
  function copyable(text, what) {
    const button = h(
      "button",
      { type: "button", class: "copy", "aria-label": `Copy ${what}`, click: () => void copy(text, button) },
      "Copy"
    );
    return h("div", { class: "command" }, h("code", {}, text), button);
  }
  async function copy(text, button) {
    const usual = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const area = h("textarea", { "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl-C";
      area.remove();
    }
    setTimeout(() => {
      button.textContent = usual;
    }, 1500);
  }
  var isSafeLink = (link) => /^https?:\/\//.test(link) || !/^[a-z][a-z0-9+.-]*:/i.test(link);

  // src/view.ts
  var TABS = ["images", "settings", "training", "classes", "cost", "compare", "search"];
  var PLAIN = {
    query: "",
    measure: "",
    base: "",
    chosen: null,
    tab: "images",
    sort: "",
    down: false,
    open: [],
    hidden: [],
    cls: "",
    seed: "",
    kind: "first",
    classMeasure: "",
    matrix: "",
    every: false,
    allClasses: false
  };
  var MOST_CHOSEN = 8;
  var NAMES = {
    query: "q",
    measure: "score",
    base: "base",
    chosen: "show",
    tab: "tab",
    sort: "sort",
    down: "down",
    open: "open",
    hidden: "hide",
    cls: "class",
    seed: "seed",
    kind: "attempt",
    classMeasure: "by",
    matrix: "matrix",
    every: "every",
    allClasses: "all"
  };
  function write(view2) {
    const found = new URLSearchParams();
    for (const key of Object.keys(NAMES)) {
      const value = view2[key], plain = PLAIN[key];
      const text = Array.isArray(value) ? value.join(",") : value === null ? "" : typeof value === "boolean" ? value ? "1" : "" : value;
      const usual = plain === null ? null : Array.isArray(plain) ? plain.join(",") : typeof plain === "boolean" ? plain ? "1" : "" : plain;
      if (value !== null && text !== usual) found.set(NAMES[key], text);
    }
    return found.toString();
  }
  function read(hash) {
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const text = (key) => given.get(NAMES[key]) ?? "";
    const list = (key) => text(key).split(",").filter(Boolean);
    const tab = TABS.find((t) => t === text("tab")) ?? PLAIN.tab;
    return {
      query: text("query"),
      measure: text("measure"),
      base: text("base"),
      chosen: given.has(NAMES.chosen) ? list("chosen").slice(0, MOST_CHOSEN) : null,
      tab,
      sort: text("sort"),
      down: text("down") === "1",
      open: list("open"),
      hidden: list("hidden"),
      cls: text("cls"),
      seed: text("seed"),
      kind: text("kind") === "last" ? "last" : "first",
      classMeasure: text("classMeasure"),
      matrix: text("matrix"),
      every: text("every") === "1",
      allClasses: text("allClasses") === "1"
    };
  }

  // src/query.ts
  var CONDITION = /^([^<>=:!\s]+)(<=|>=|!=|=|<|>|:)(.*)$/;
  var STATES = ["done", "failed", "pruned", "running", "missing", "waiting", "interrupted", "unreadable"];
  function fields(study3) {
    const found = /* @__PURE__ */ new Map();
    study3.measures.forEach((m, i) => found.set(m.alias, { of: "configuration", get: (c) => c.scores[i]?.value ?? null }));
    const main = study3.measures.findIndex((m) => m.key === study3.main);
    found.set("f1", { of: "configuration", get: (c) => c.scores[main]?.value ?? null });
    found.set("seeds", { of: "configuration", get: (c) => c.seeds.length });
    found.set("state", { of: "trial", get: (t) => t.state });
    found.set("seed", { of: "trial", get: (t) => t.seed });
    for (const key of study3.settings) {
      const field = { of: "configuration", get: (c) => c.settings[key] ?? null };
      found.set((study3.shortSetting.get(key) ?? key).toLowerCase(), field);
      found.set(key.toLowerCase(), field);
    }
    return found;
  }
  function distance(a, b) {
    let row = Array.from({ length: b.length + 1 }, (_, i) => i);
    for (let i = 1; i <= a.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= b.length; j += 1)
        next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1])));
      row = next;
    }
    return row[b.length] ?? 0;
  }
  var nearest = (word, names) => names.map((name) => ({ name, d: distance(word, name) })).filter((x) => x.d <= Math.max(1, x.name.length / 3)).sort((x, y) => x.d - y.d)[0]?.name;
  function holds(value, sign, wanted) {
    if (value === null || value === "") return false;
    const text = String(value).toLowerCase(), both = isNumber(text) && isNumber(wanted), a = Number(text), b = Number(wanted);
    switch (sign) {
      case "=":
        return both ? a === b : text === wanted;
      case ":":
        return both ? a === b : text.includes(wanted);
      case "!=":
        return both ? a !== b : text !== wanted;
      case "<":
        return both && a < b;
      case ">":
        return both && a > b;
      case "<=":
        return both && a <= b;
      default:
        return both && a >= b;
    }
  }
  var words = (text) => (text.toLowerCase().match(/(?:[^\s"]|"[^"]*"?)+/g) ?? []).map((word) => word.replace(/"/g, "")).filter(Boolean);
  var condition = (name, value) => `${name}=${/\s/.test(value) ? `"${value.replace(/"/g, "")}"` : value}`;
  function parse(study3, text) {
    const known = fields(study3);
    const ofTrials = [], ofConfigurations = [], problems = [];
    for (const word of words(text)) {
      const [, name = "", sign = "", wanted = ""] = CONDITION.exec(word) ?? [];
      const field = known.get(name);
      if (!sign) {
        ofTrials.push(
          (t) => `${t.name} ${t.configuration.label} ${t.configuration.name} seed=${t.seed} ${t.state} ${t.problem} ${t.source} ${t.maker}`.toLowerCase().includes(word)
        );
      } else if (!field) {
        const near = nearest(name, [...known.keys()]);
        problems.push(
          `There is no setting or score “${name}”; ${near ? `did you mean “${near}”?` : `try ${[...known.keys()].slice(0, 8).join(", ")}.`}`
        );
      } else if (!wanted) {
        problems.push(`“${word}” lacks a value; type for example ${name}${sign}${name === "state" ? "failed" : "1"}.`);
      } else if (/[<>]/.test(sign) && !isNumber(wanted)) {
        problems.push(`“${wanted}” in “${word}” is not a number; type for example ${name}${sign}0.5.`);
      } else if (name === "state" && !STATES.some((s) => s.startsWith(wanted))) {
        problems.push(`There is no state “${wanted}”; states are ${STATES.slice(0, 5).join(", ")}.`);
      } else if (field.of === "trial") {
        ofTrials.push((t) => holds(field.get(t), sign, wanted));
      } else {
        ofConfigurations.push((c) => holds(field.get(c), sign, wanted));
      }
    }
    return {
      problem: problems.join(" "),
      holds: (c) => ofConfigurations.every((f) => f(c)) && (!ofTrials.length || c.trials.some((t) => ofTrials.every((f) => f(t))))
    };
  }

  // src/app.ts
  var byIdOf = (app2, id) => app2.study.configurations.find((c) => c.id === id);
  function measureIndex(app2) {
    const { measures, main } = app2.study;
    const asked = measures.findIndex((m) => m.alias === app2.view.measure);
    return asked >= 0 ? asked : Math.max(
      0,
      measures.findIndex((m) => m.key === main)
    );
  }
  var measureOf = (app2) => app2.study.measures[measureIndex(app2)];
  function baseline(app2) {
    return byIdOf(app2, app2.view.base) ?? app2.study.configurations.find((c) => c.ranked);
  }
  function chosen(app2) {
    if (app2.view.chosen) return app2.view.chosen.map((id) => byIdOf(app2, id)).filter((c) => c !== void 0);
    const ranked = app2.study.configurations.filter((c) => c.ranked), last = ranked.at(-1);
    return [.../* @__PURE__ */ new Set([...ranked.slice(0, 2), ...last ? [last] : []])];
  }
  function toggleChosen(app2, c) {
    const ids = chosen(app2).map((x) => x.id), there = ids.includes(c.id);
    if (!there && ids.length >= MOST_CHOSEN) {
      app2.say(`At most ${MOST_CHOSEN} configurations are compared; untick one first.`);
      return;
    }
    app2.change({ chosen: there ? ids.filter((id) => id !== c.id) : [...ids, c.id] });
  }
  function colourOf(app2, c) {
    const place = chosen(app2).indexOf(c);
    return place < 0 ? null : place;
  }
  var swatch = (app2, c) => h("span", { class: `swatch c${colourOf(app2, c) ?? "x"}`, "aria-hidden": "true" });
  var query = (app2) => parse(app2.study, app2.view.query);
  function pictured(app2, c) {
    const all = c.trials.filter((t) => t.sprite), seed = app2.view.seed || commonSeed(app2);
    return all.find((t) => t.seed === seed) ?? all[0];
  }
  function commonSeed(app2) {
    const count = (seed) => app2.study.configurations.filter((c) => c.trials.some((t) => t.sprite && t.seed === seed)).length;
    return app2.study.seeds.reduce((best, seed) => count(seed) > count(best) ? seed : best, app2.study.seeds[0] ?? "");
  }
  function attemptShown(app2, t, cls, slot) {
    const all = t.attempts().get(slotKey(cls, slot)) ?? [];
    if (app2.view.kind === "first") return all.find((a) => a.attempt === 0);
    return all.find((a) => a.accepted) ?? all.at(-1);
  }
  function className(study3, cls) {
    return cls === null ? "unknown" : study3.classes[cls]?.[1] ?? `class ${cls}`;
  }
  var shortClass = (study3, cls) => (study3.classes[cls]?.[0] ?? `class ${cls}`).replaceAll("-", " ");
  function verdictOf(study3, a) {
    if (a.accepted) return "accepted";
    const seen = a.seen !== null && a.seen !== a.class ? `looks like ${className(study3, a.seen)}` : "";
    return `rejected${a.reason || seen ? ": " : ""}${[a.reason, seen].filter(Boolean).join("; ")}`;
  }

  // src/stats.ts
  function difference(study3, measure, one, base) {
    const x = one.fits[measure], y = base.fits[measure], times = study3.corrected[measure] ?? null;
    if (!x || !y || x.mean === null || y.mean === null) return null;
    const value = x.mean - y.mean;
    if (x.error === null || y.error === null || times === null) return { value, low: null, high: null, plain: null };
    const half = times * Math.hypot(x.error, y.error);
    return { value, low: value - half, high: value + half, plain: value - half > 0 || value + half < 0 };
  }
  var fixed = (value, digits) => value.toFixed(digits).replace("-", "−");
  var signed = (value, digits) => (value > 0 ? "+" : "") + fixed(value, digits);
  var interval = (low, high, digits) => low === null || high === null ? "" : `[${fixed(low, digits)}, ${fixed(high, digits)}]`;
  function shown(score2, digits) {
    if (!score2) return "not measured";
    const n = score2.n ? `n=${score2.n.toLocaleString("en")}` : "";
    return [fixed(score2.value, digits), interval(score2.low, score2.high, digits), n].filter(Boolean).join(" ");
  }
  function shownDifference(d, digits) {
    if (!d) return "not comparable";
    return [signed(d.value, digits), interval(d.low, d.high, digits)].filter(Boolean).join(" ");
  }
  function ticks(low, high, count) {
    if (!(high > low)) return [low];
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10) * power;
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1)
      found.push(Number((i * step).toPrecision(12)));
    return found;
  }

  // src/tiles.ts
  function paint(node, sprite, place, side) {
    const { columns: columns2 } = sprite;
    node.style.cssText = `width:${side}px;height:${side}px;background-image:url("${sprite.url.replace(/["()\\\s]/g, "")}");background-size:${columns2 * side}px auto;background-position:${-(place % columns2) * side}px ${-Math.floor(place / columns2) * side}px`;
  }
  var judgeOf = (app2, a) => a.judged === null ? "" : a.judged === a.class ? "names the requested class" : `names ${className(app2.study, a.judged)}`;
  var describe = (app2, t, a) => [
    `${className(app2.study, a.class)}, slot ${a.slot + 1}, attempt ${a.attempt + 1}, ${verdictOf(app2.study, a)}`,
    judgeOf(app2, a) && `the judge ${judgeOf(app2, a)}`,
    `${t.configuration.name}, seed ${t.seed}`
  ].filter(Boolean).join("; ");
  var frameOf = (a) => `tile ${a.accepted ? "ok" : "no"}${a.judged === null ? "" : a.judged === a.class ? " confirmed" : " doubted"}`;
  function tile(app2, t, a, side, key) {
    const frame2 = frameOf(a);
    if (!t.sprite || a.place === null) {
      const words2 = h(
        "span",
        { class: `${frame2} bare`, title: describe(app2, t, a) },
        a.accepted ? "accepted, no image kept" : "rejected, no image kept"
      );
      words2.style.cssText = `width:${side}px;height:${side}px`;
      return words2;
    }
    const label = describe(app2, t, a);
    const node = h("button", {
      type: "button",
      class: frame2,
      title: label,
      "aria-label": label,
      "data-k": `${key}/${t.index}/${a.class}/${a.slot}/${a.attempt}`,
      "data-slot": a.slot,
      "data-class": a.class,
      "data-attempt": a.attempt,
      click: () => enlarge(app2, t, a.class, a.slot)
    });
    paint(node, t.sprite, a.place, side);
    return node;
  }
  function gap(side, why = "no image") {
    const node = h("span", { class: "gap", title: why, "aria-label": why, role: "img" }, "–");
    node.style.cssText = `width:${side}px;height:${side}px`;
    return node;
  }
  function thumb(app2, t, a, side) {
    if (!a || !t.sprite || a.place === null) return gap(side, a ? `${describe(app2, t, a)}; its image was not kept` : "no image");
    const node = h("span", {
      class: frameOf(a),
      role: "img",
      title: describe(app2, t, a),
      "aria-label": describe(app2, t, a),
      "data-class": a.class,
      "data-slot": a.slot,
      click: () => enlarge(app2, t, a.class, a.slot)
    });
    paint(node, t.sprite, a.place, side);
    return node;
  }
  function enlarge(app2, t, cls, slot) {
    const dialog = document.getElementById("enlarged"), inside = dialog.querySelector("div");
    const { study: study3 } = app2;
    const order = study3.configurations.map((c) => pictured(app2, c)).filter((x) => x !== void 0);
    const slots = [...t.attempts().keys()].sort((a, b) => {
      const [c, s] = a.split("/").map(Number), [d, r] = b.split("/").map(Number);
      return (c ?? 0) - (d ?? 0) || (s ?? 0) - (r ?? 0);
    });
    let trial = t, key = slotKey(cls, slot);
    const draw2 = () => {
      const all = trial.attempts().get(key) ?? [], [c = 0, s = 0] = key.split("/").map(Number);
      const figures = all.map((a) => {
        const large = h("div", {
          class: `${frameOf(a)} large`,
          role: "img",
          "aria-label": describe(app2, trial, a)
        });
        if (trial.sprite && a.place !== null) paint(large, trial.sprite, a.place, Math.min(224, innerWidth - 90));
        else large.append("no image of this attempt was kept");
        const facts = [
          ["gate", verdictOf(study3, a)],
          ["judge", judgeOf(app2, a)],
          ["probability of the class", a.probability === null ? "not known" : a.probability.toFixed(3)],
          ["prompt", a.prompt],
          ["seed of the image", a.seed]
        ];
        return h(
          "figure",
          {},
          h("figcaption", {}, `Attempt ${a.attempt + 1}: ${a.accepted ? "accepted" : "rejected"}`),
          large,
          h("dl", {}, ...facts.filter(([, v]) => v).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]))
        );
      });
      const place = trial.real.get(key);
      if (place !== void 0 && trial.sprite) {
        const large = h("div", { class: "tile large", role: "img", "aria-label": `a real image of ${className(study3, c)}` });
        paint(large, trial.sprite, place, Math.min(224, innerWidth - 90));
        figures.push(h("figure", {}, h("figcaption", {}, "A real image of the class"), large));
      }
      inside.replaceChildren(
        h("h3", { id: "enlarged-title" }, `${className(study3, c)}, slot ${s + 1}`),
        h("p", { class: "quiet" }, `${trial.configuration.name}, seed ${trial.seed}`),
        h("div", { class: "figures" }, ...figures),
        h("p", { class: "quiet" }, "← → other slots · ↑ ↓ or space: the same slot in other configurations · Esc closes")
      );
    };
    const step = (list, at, by) => list[(list.indexOf(at) + by + list.length) % list.length] ?? at;
    dialog.onkeydown = (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, " ": 1 }[event.key];
      if (by === void 0) return;
      event.preventDefault();
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") key = step(slots, key, by);
      else trial = step(order, order.includes(trial) ? trial : order[0] ?? trial, by);
      draw2();
    };
    draw2();
    dialog.showModal();
  }
  function realTile(app2, t, cls, slot, side) {
    const place = t.real.get(slotKey(cls, slot));
    if (place === void 0 || !t.sprite) return gap(side);
    const node = h("span", { class: "tile", role: "img", "aria-label": `a real image of ${className(app2.study, cls)}` });
    paint(node, t.sprite, place, side);
    return node;
  }
  function columnsOf(app2, most) {
    const { study: study3, view: view2 } = app2, cls = study3.classes.findIndex(([slug]) => slug === view2.cls);
    if (cls >= 0 && study3.pictured.includes(cls))
      return Array.from({ length: Math.min(most, study3.slots) }, (_, slot) => ({
        cls,
        slot,
        head: `slot ${slot + 1}`,
        short: `slot ${slot + 1}`
      }));
    return study3.pictured.slice(0, most).map((c) => ({ cls: c, slot: 0, head: className(study3, c), short: shortClass(study3, c) }));
  }
  var hasImages = (c) => c.trials.some((t) => t.sprite);

  // src/board.ts
  var ROW = 38;
  var WHOLE = 60;
  var MARGIN = 12;
  var SIDE = 28;
  var NARROW = 640;
  var SHORT = 14;
  var STATE_ORDER = ["done", "running", "waiting", "failed", "unreadable", "interrupted", "pruned", "missing"];
  var USUAL = ["f1_judge", "f1_gate", "accepted", "cost", "kid"];
  var number = (score2, digits) => score2 ? fixed(score2.value, digits) : "–";
  function visibleMeasures(app2) {
    const main = measureIndex(app2);
    return app2.study.measures.filter((m, i) => i !== main && USUAL.includes(m.alias) !== app2.view.hidden.includes(m.alias));
  }
  function domain(app2, measure, of = app2.study.configurations) {
    const values = of.flatMap((c) => {
      const s = c.scores[measure];
      return s ? [s.value, s.low ?? s.value, s.high ?? s.value, ...c.trials.map((t) => t.readings[measure]?.value ?? s.value)] : [];
    });
    if (!values.length) return [0, 1];
    const low = Math.min(...values), high = Math.max(...values), pad = (high - low || Math.abs(high) || 1) * 0.04;
    return [low - pad, high + pad];
  }
  function whisker(app2, measure, c, [low, high]) {
    const wide2 = 84, x = (v) => 4 + (v - low) / (high - low) * (wide2 - 8), s = c.scores[measure], base = baseline(app2)?.scores[measure];
    const colour2 = colourOf(app2, c);
    const box = svg("svg", {
      width: wide2,
      height: 22,
      viewBox: `0 0 ${wide2} 22`,
      class: `whisker c${colour2 ?? "x"}`,
      "aria-hidden": "true"
    });
    if (base) box.append(svg("line", { x1: x(base.value), x2: x(base.value), y1: 0, y2: 22, class: "base" }));
    if (!s) return box;
    if (s.low !== null && s.high !== null) box.append(svg("line", { x1: x(s.low), x2: x(s.high), y1: 11, y2: 11, class: "range" }));
    for (const t of c.trials) {
      const r = t.readings[measure];
      if (r) box.append(svg("circle", { cx: x(r.value), cy: 11, r: 2.6, class: "dot" }));
    }
    box.append(svg("line", { x1: x(s.value), x2: x(s.value), y1: 4, y2: 18, class: "mean" }));
    return box;
  }
  function stateCell(c) {
    const states = [...c.states].sort((a, b) => STATE_ORDER.indexOf(a[0]) - STATE_ORDER.indexOf(b[0]));
    const first = c.trials.find((t) => t.state !== "done") ?? c.trials.find((t) => t.problem);
    const title = c.trials.map((t) => `seed ${t.seed || "unknown"}: ${t.state}${t.problem ? `, ${t.problem}` : ""}`).join("\n");
    return h(
      "td",
      { class: "state", title },
      ...states.map(([state, n]) => h("span", { class: `pill ${state}` }, `${n} ${state}`)),
      first ? h("span", { class: "why" }, first.problem) : null
    );
  }
  function columns(app2) {
    const { study: study3 } = app2, main = measureIndex(app2), measure = study3.measures[main], base = baseline(app2), range2 = domain(app2, main);
    const found = [];
    for (const key of study3.settings) {
      const short = study3.shortSetting.get(key) ?? key;
      found.push({
        key: `setting:${key}`,
        head: short,
        help: key,
        sort: (c) => c.settings[key] ?? null,
        wide: "setting",
        cell: (c) => h(
          "td",
          { class: `setting${(c.settings[key] ?? "").length > SHORT ? " long" : ""}`, title: `${key}=${c.settings[key] ?? ""}` },
          c.settings[key] ?? "–"
        )
      });
    }
    if (!study3.settings.length)
      found.push({
        key: "name",
        head: "configuration",
        help: "Settings in which this configuration differs from the others",
        sort: (c) => c.name,
        cell: (c) => h("td", { class: "setting" }, c.name)
      });
    if (measure) {
      found.push({
        key: "score",
        head: innerWidth < NARROW ? measure.short : measure.name,
        help: `${measure.name}. ${measure.help} Mean over the training seeds; dots: seeds; line: 95% interval; dashed: the baseline.`,
        better: measure.better,
        sort: (c) => c.scores[main]?.value ?? null,
        wide: "score",
        cell: (c) => {
          const s = c.scores[main] ?? null;
          return h(
            "td",
            {
              class: "score",
              title: s ? `${shown(s, measure.digits)}, ${c.seeds.length} ${c.seeds.length === 1 ? "seed: chance in the images" : "seeds"}` : "no trial has it yet"
            },
            h("b", {}, number(s, measure.digits)),
            " ",
            innerWidth < NARROW ? null : whisker(app2, main, c, range2),
            h("small", {}, s ? interval(s.low, s.high, measure.digits) : "")
          );
        },
        trial: (t) => h("td", { class: "score" }, h("span", {}, shown(t.readings[main], measure.digits)))
      });
      found.push({
        key: "difference",
        head: "against ★",
        help: "Difference to the pinned baseline ★, paired over training seeds. The 95% interval is corrected for all pairs of configurations, so any of them can be pinned. Bold: beyond noise.",
        better: measure.better,
        sort: (c) => (base && difference(study3, main, c, base)?.value) ?? null,
        cell: (c) => {
          if (c === base) return h("td", { class: "difference" }, h("span", { class: "quiet" }, "★ baseline"));
          const d = base ? difference(study3, main, c, base) : null;
          if (!d) return h("td", { class: "difference" }, h("span", { class: "quiet" }, "–"));
          return h(
            "td",
            {
              class: `difference${d.plain ? " plain" : ""}`,
              title: `${shownDifference(d, measure.digits)}: ${d.plain === null ? "noise is not known" : d.plain ? "beyond noise" : "within noise"}`
            },
            signed(d.value, measure.digits),
            " ",
            h("small", {}, interval(d.low, d.high, measure.digits) || "noise not known")
          );
        }
      });
    }
    found.push({
      key: "state",
      head: "trials",
      help: "How many trials are done, failed, pruned, running or missing, and the reason of the first that is not done",
      sort: (c) => c.trials.length - c.seeds.length,
      cell: stateCell
    });
    const slots = columnsOf(app2, 9);
    if (slots.length && study3.configurations.some(hasImages)) {
      const strip = (t) => h(
        "td",
        { class: "strip" },
        ...t ? slots.map((s) => thumb(app2, t, attemptShown(app2, t, s.cls, s.slot), SIDE)) : [h("span", { class: "quiet" }, "no images")]
      );
      found.push({
        key: "strip",
        head: "",
        help: "",
        wide: "strip",
        cell: (c) => strip(pictured(app2, c)),
        trial: (t) => strip(t.sprite ? t : void 0)
      });
    }
    for (const m of visibleMeasures(app2)) {
      const i = study3.measures.indexOf(m);
      found.push({
        key: m.alias,
        head: m.short,
        help: `${m.name}. ${m.help}`,
        better: m.better,
        sort: (c) => c.scores[i]?.value ?? null,
        cell: (c) => h("td", { class: "number", title: shown(c.scores[i], m.digits) }, number(c.scores[i], m.digits)),
        trial: (t) => h("td", { class: "number", title: shown(t.readings[i], m.digits) }, number(t.readings[i], m.digits))
      });
    }
    return found;
  }
  function rowsOf(app2) {
    const { view: view2, study: study3 } = app2, left = study3.configurations.filter(query(app2).holds), main = measureIndex(app2), measure = study3.measures[main];
    const usual = !view2.sort && measure?.key === study3.main && !view2.down;
    if (usual) return left;
    const column = columns(app2).find((c) => c.key === (view2.sort || "score"));
    if (!column?.sort) return left;
    const { sort } = column, sign = ((view2.sort ? column.better ?? -1 : measure?.better ?? 1) === 1 ? -1 : 1) * (view2.down ? -1 : 1);
    return [...left].sort((a, b) => {
      const x = sort(a), y = sort(b);
      if (x === null || y === null) return Number(x === null) - Number(y === null);
      return sign * (typeof x === "number" && typeof y === "number" ? x - y : inOrder(String(x), String(y)));
    });
  }
  function head(app2, all) {
    const { view: view2 } = app2, row = h("tr", {}), sorted = view2.sort || "score";
    row.append(h("th", { class: "first", scope: "col" }, h("span", { class: "sr" }, "rank, choice and baseline")));
    for (const c of all) {
      if (c.key === "strip") {
        const slots = columnsOf(app2, 9);
        row.append(
          h(
            "th",
            {
              class: "strip",
              scope: "col",
              title: "The same slots in every row: same class, same prompt, same random seed of the first attempt. None was picked by hand."
            },
            h("span", { class: "heads" }, ...slots.map((s) => h("span", { title: s.head }, s.short)))
          )
        );
        continue;
      }
      const on = sorted === c.key, rises = (c.better ?? -1) === 1 === view2.down;
      const arrow = c.better === 1 ? " higher is better" : c.better === -1 ? " lower is better" : "";
      row.append(
        h(
          "th",
          { scope: "col", class: c.wide ?? c.key, "aria-sort": on ? rises ? "ascending" : "descending" : "none" },
          h(
            "button",
            {
              type: "button",
              title: `${c.help}${arrow ? ` (${arrow.trim()})` : ""}`,
              "data-k": `sort/${c.key}`,
              "data-sort": c.key,
              click: () => app2.change({ sort: c.key === "score" ? "" : c.key, down: on ? !view2.down : false })
            },
            c.head,
            h(
              "span",
              { class: "arrow", "aria-hidden": "true" },
              on ? rises ? " ▲" : " ▼" : c.better ? c.better === 1 ? " ↑" : " ↓" : ""
            )
          )
        )
      );
    }
    return row;
  }
  function configurationRow(app2, c, all, open, at) {
    const ticked = chosen(app2).includes(c), pinned = baseline(app2) === c, rank = c.ranked ? String(c.index + 1) : "–";
    const tick = h("input", {
      type: "checkbox",
      "aria-label": `show ${c.name} below`,
      "data-k": `tick/${c.id}`,
      change: () => toggleChosen(app2, c)
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
        click: () => app2.change({ open: open ? app2.view.open.filter((id) => id !== c.id) : [...app2.view.open, c.id] })
      },
      open ? "▾" : "▸"
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
        click: () => app2.change({ base: c.id })
      },
      pinned ? "★" : "☆"
    );
    return h(
      "tr",
      { "data-c": c.index, class: ticked ? "chosen" : "", "aria-rowindex": at },
      h(
        "th",
        { class: "first", scope: "row" },
        fold,
        tick,
        swatch(app2, c),
        h("span", { class: "rank", title: c.ranked ? `rank ${rank} by the study's main score` : "not ranked: no score yet" }, rank),
        pin,
        h("span", { class: "sr" }, c.name)
      ),
      ...all.map((x) => x.cell(c))
    );
  }
  function trialRow(t, all, at) {
    const name = t.link && isSafeLink(t.link) ? h("a", { href: t.link }, "page") : null;
    const online = t.address && isSafeLink(t.address) ? h("a", { href: t.address, title: "this trial's run in W&B" }, "W&B") : null;
    const settings2 = all.filter((c) => c.key.startsWith("setting:") || c.key === "name").length;
    const cells = all.slice(settings2).map((c) => {
      if (c.key === "state")
        return h(
          "td",
          { class: "state", title: t.problem },
          h("span", { class: `pill ${t.state}` }, t.state),
          t.problem ? h("span", { class: "why" }, t.problem) : null
        );
      if (!t.readings.length && c.key !== "strip") return h("td", { class: c.key === "score" ? "score" : "number" });
      return c.trial?.(t) ?? h("td", {});
    });
    return h(
      "tr",
      { class: "trial", "data-c": t.configuration.index, "aria-rowindex": at, title: t.name },
      h("th", { class: "first", scope: "row" }, `seed ${t.seed || "unknown"}`),
      h("td", { colspan: settings2, class: "links" }, name, " ", online, t.source ? h("small", {}, ` from ${t.source}`) : null, t.maker ? h("small", {}, ` by ${t.maker}`) : null),
      ...cells
    );
  }
  function drawBoard(app2) {
    const table = byId("board"), frame2 = table.parentElement, all = columns(app2), left = rowsOf(app2);
    const rows = left.flatMap((c) => [
      { c, t: null },
      ...app2.view.open.includes(c.id) || app2.view.every ? c.trials.map((t) => ({ c, t })) : []
    ]);
    table.setAttribute("aria-rowcount", String(rows.length + 1));
    table.tHead.replaceChildren(head(app2, all));
    const body = table.tBodies[0];
    const node = ({ c, t }, i) => t ? trialRow(t, all, i + 2) : configurationRow(app2, c, all, app2.view.open.includes(c.id) || app2.view.every, i + 2);
    const spacer = (n) => {
      const row = h("tr", { "aria-hidden": "true", class: "spacer" }, h("td", { colspan: all.length + 1 }));
      row.style.height = `${n * ROW}px`;
      return row;
    };
    let drawn = "";
    const draw2 = () => {
      if (rows.length <= WHOLE) {
        body.replaceChildren(...rows.map(node));
        return;
      }
      const first = Math.max(0, Math.floor(frame2.scrollTop / ROW) - MARGIN), last = Math.min(rows.length, first + Math.ceil((frame2.clientHeight || 600) / ROW) + 2 * MARGIN);
      if (drawn === `${first}-${last}`) return;
      drawn = `${first}-${last}`;
      const active = document.activeElement?.dataset["k"];
      body.replaceChildren(spacer(first), ...rows.slice(first, last).map((r, i) => node(r, first + i)), spacer(rows.length - last));
      if (active) body.querySelector(`[data-k="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
    };
    frame2.onscroll = rows.length <= WHOLE ? null : () => requestAnimationFrame(draw2);
    draw2();
    const trials = left.reduce((n, c) => n + c.trials.length, 0);
    byId("count").textContent = `${left.length} of ${app2.study.configurations.length} configurations, ${trials} trials`;
  }
  function csv(app2) {
    const { study: study3 } = app2, quoted = (x) => /[",\n]/.test(x) ? `"${x.replace(/"/g, '""')}"` : x;
    const safe = (x) => quoted(/^[=+@\t]/.test(x) ? `'${x}` : x);
    const heads = [
      "configuration",
      ...study3.settings,
      "seeds",
      "states",
      ...study3.measures.flatMap((m) => [m.name, `${m.name} low`, `${m.name} high`, `${m.name} n`])
    ];
    const lines2 = rowsOf(app2).map((c) => [
      c.label,
      ...study3.settings.map((k) => c.settings[k] ?? ""),
      c.seeds.join(" "),
      [...c.states].map(([s, n]) => `${n} ${s}`).join(" "),
      ...c.scores.flatMap((s) => s ? [s.value, s.low ?? "", s.high ?? "", s.n].map(String) : ["", "", "", ""])
    ]);
    return [heads, ...lines2].map((line) => line.map(safe).join(",")).join("\n") + "\n";
  }

  // src/parts.ts
  var MANY_CLASSES = 30;
  var legend = (app2, list) => h("p", { class: "legend" }, ...list.map((c) => h("span", { "data-c": c.index }, swatch(app2, c), c.name)));
  var nothing = (words2) => h("p", { class: "empty" }, words2);
  var colour = (app2, c) => `c${colourOf(app2, c) ?? "x"}`;
  var wide = (most) => Math.max(300, Math.min(most, innerWidth - 44));
  var note = (text) => h("p", { class: "quiet" }, text);
  function choice(app2, words2, key, value, options) {
    const select = h(
      "select",
      { "data-k": `choice/${key}`, change: () => app2.change({ [key]: select.value }) },
      ...options.map(([v, text]) => h("option", { value: v }, text))
    );
    select.value = value;
    return h("label", {}, `${words2} `, select);
  }
  function scrolling(label, inside) {
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, inside);
  }

  // src/filmstrip.ts
  var HIGH = 170;
  var SMALL = 96;
  function sheet(reel, at, high) {
    const scale = high / reel.height, wide2 = reel.width * scale;
    const node = h("span", { class: "sheet", "aria-hidden": "true" });
    node.style.cssText = `width:${wide2}px;height:${high}px;background-image:url("${reel.url.replace(/["()\\\s]/g, "")}");background-size:${wide2 * reel.steps.length}px ${high}px;background-position:${-at * wide2}px 0`;
    return node;
  }
  function filmed(app2, c) {
    const all = c.trials.filter((t) => t.reel), seed = app2.view.seed || commonSeed(app2);
    return all.find((t) => t.seed === seed) ?? all[0];
  }
  function filmstrip(app2, list) {
    const rows = list.flatMap((c) => {
      const t = filmed(app2, c);
      return t?.reel ? [{ c, t, reel: t.reel }] : [];
    });
    if (!rows.length) return [];
    const steps = [...new Set(rows.flatMap((r) => r.reel.steps))].sort((a, b) => a - b);
    const cell = (t, reel, step) => {
      const at = reel.steps.indexOf(step);
      if (at < 0) return h("td", {}, h("span", { class: "quiet" }, "–"));
      const label = `sheet after step ${step}; ${t.configuration.name}, seed ${t.seed || "unknown"}`;
      return h(
        "td",
        {},
        h(
          "button",
          {
            type: "button",
            class: "film",
            title: label,
            "aria-label": label,
            "data-k": `film/${t.index}/${step}`,
            click: () => show(rows.map((r) => r.t), t, at)
          },
          sheet(reel, at, HIGH)
        )
      );
    };
    const table = h(
      "table",
      { class: "images", id: "filmstrip" },
      h("thead", {}, h("tr", {}, h("td", {}), ...steps.map((s) => h("th", { scope: "col" }, `step ${s}`)))),
      h(
        "tbody",
        {},
        ...rows.map(
          ({ c, t, reel }) => h(
            "tr",
            { "data-c": c.index },
            h("th", { scope: "row" }, swatch(app2, c), c.name, h("small", {}, `seed ${t.seed || "unknown"}`)),
            ...steps.map((s) => cell(t, reel, s))
          )
        )
      )
    );
    const order = app2.study.classes.map(([, name]) => name);
    return [
      h("h3", {}, "Images of the validations"),
      note(
        "First attempts of the same slots after so many training steps, a row a class" + (order.length && order.length <= 12 ? ` (${order.join(", ")})` : "") + ". Click a sheet to enlarge it; ← → change the step, ↑ ↓ the configuration."
      ),
      scrolling("Validation sheets by training step", table)
    ];
  }
  function show(trials, first, from) {
    const dialog = byId("enlarged"), inside = dialog.querySelector("div");
    let trial = first, at = from;
    const draw2 = () => {
      const reel = trial.reel;
      at = Math.min(at, reel.steps.length - 1);
      const high = Math.min(2 * reel.height, innerHeight * 0.68, innerWidth * 0.85 / reel.width * reel.height);
      inside.replaceChildren(
        h("h3", { id: "enlarged-title" }, `Validation after step ${reel.steps[at] ?? ""}`),
        h("p", { class: "quiet" }, `${trial.configuration.name}, seed ${trial.seed || "unknown"}`),
        h("div", { class: "figures", role: "img", "aria-label": "First attempts of the validation, a row a class" }, sheet(reel, at, high)),
        h("p", { class: "quiet" }, "← → other steps · ↑ ↓ or space: the same step in other configurations · Esc closes")
      );
    };
    dialog.onkeydown = (event) => {
      const steps = trial.reel.steps, by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, " ": 1 }[event.key];
      if (by === void 0) return;
      event.preventDefault();
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") at = (at + by + steps.length) % steps.length;
      else {
        const step = steps[at] ?? 0;
        trial = trials[(trials.indexOf(trial) + by + trials.length) % trials.length] ?? trial;
        const same = trial.reel.steps.indexOf(step);
        at = same < 0 ? 0 : same;
      }
      draw2();
    };
    draw2();
    dialog.showModal();
  }
  function drawRunning(app2) {
    const trials = app2.study.trials.filter((t) => t.state === "running"), box = byId("running");
    box.hidden = !trials.length;
    box.replaceChildren(
      ...trials.map((t) => {
        const last = (t.reel?.steps.length ?? 0) - 1, step = t.reel?.steps[last];
        const newest = t.reel && step !== void 0 ? h(
          "button",
          {
            type: "button",
            class: "film",
            "aria-label": `newest validation sheet, after step ${step}; ${t.configuration.name}, seed ${t.seed || "unknown"}`,
            title: `newest validation, after step ${step}`,
            "data-k": `newest/${t.index}`,
            click: () => show(trials.filter((x) => x.reel), t, last)
          },
          sheet(t.reel, last, SMALL)
        ) : null;
        return h(
          "article",
          { "data-c": t.configuration.index },
          newest,
          h(
            "div",
            {},
            h("b", {}, t.configuration.name),
            ` seed ${t.seed || "unknown"}`,
            h("p", {}, t.problem || "runs"),
            step === void 0 ? null : h("small", {}, `newest validation: step ${step}`)
          )
        );
      })
    );
  }

  // src/images.ts
  function images(app2) {
    const list = chosen(app2).filter(hasImages);
    const notes = app2.study.notes.map(note);
    if (!list.length) return [nothing("None of these configurations has images yet."), ...notes];
    const slots = columnsOf(app2, 12), side = innerWidth < 640 ? 56 : 80;
    const rows = list.map((c) => {
      const t = pictured(app2, c);
      return h(
        "tr",
        { "data-c": c.index },
        h("th", { scope: "row" }, swatch(app2, c), c.name, h("small", {}, t ? `seed ${t.seed || "unknown"}` : "")),
        ...slots.map((s) => {
          const a = t && attemptShown(app2, t, s.cls, s.slot);
          return h("td", {}, t && a ? tile(app2, t, a, side, "image") : gap(side));
        })
      );
    });
    const withReal = list.map((c) => pictured(app2, c)).find((t) => t && t.real.size);
    if (withReal)
      rows.push(
        h(
          "tr",
          {},
          h("th", { scope: "row" }, "real images"),
          ...slots.map((s) => h("td", {}, realTile(app2, withReal, s.cls, s.slot, side)))
        )
      );
    const table = h(
      "table",
      { class: "images" },
      h("thead", {}, h("tr", {}, h("td", {}), ...slots.map((s) => h("th", { scope: "col" }, h("span", {}, s.head))))),
      h("tbody", {}, ...rows)
    );
    return [
      note(
        "Same column, same slot: the same class, prompt and random seed of the first attempt in every row. None was picked by hand. Solid frame: accepted by the gate; dashed frame with a cut corner: rejected. Filled dot: the judge names the requested class; ring: another. Click an image for all attempts at its slot."
      ),
      scrolling("Images of the same slots", table),
      ...notes
    ];
  }

  // src/charts.ts
  var digitsOf = (step) => Math.max(0, Math.min(6, -Math.floor(Math.log10(step || 1))));
  function labels(values) {
    const step = values.length > 1 ? Math.abs((values[1] ?? 0) - (values[0] ?? 0)) : 1;
    return values.map((v) => Math.abs(v) >= 1e5 ? v.toExponential(0) : fixed(v, digitsOf(step)));
  }
  function frame(title, xTitle, [x0, x1], [y0, y1], wide2, high) {
    const left = 52, right = 14, top = 10, bottom = 40;
    const x = (v) => left + (x1 === x0 ? 0.5 : (v - x0) / (x1 - x0)) * (wide2 - left - right);
    const y = (v) => high - bottom - (y1 === y0 ? 0.5 : (v - y0) / (y1 - y0)) * (high - top - bottom);
    const box = svg("svg", {
      class: "plot",
      width: wide2,
      height: high,
      viewBox: `0 0 ${wide2} ${high}`,
      role: "img",
      "aria-label": title
    });
    const xs = ticks(x0, x1, Math.max(2, wide2 / 90)), ys = ticks(y0, y1, Math.max(2, high / 50)), yWords = labels(ys), xWords = labels(xs);
    ys.forEach(
      (v, i) => box.append(
        svg("line", { class: "grid", x1: left, x2: wide2 - right, y1: y(v), y2: y(v) }),
        svg("text", { x: left - 7, y: y(v) + 4, "text-anchor": "end" }, yWords[i] ?? "")
      )
    );
    xs.forEach((v, i) => box.append(svg("text", { x: x(v), y: high - bottom + 17, "text-anchor": "middle" }, xWords[i] ?? "")));
    box.append(
      svg("line", { class: "axis", x1: left, x2: wide2 - right, y1: high - bottom, y2: high - bottom }),
      svg("text", { x: (left + wide2 - right) / 2, y: high - 5, "text-anchor": "middle", class: "title" }, xTitle)
    );
    return { box, x, y };
  }
  var path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  function lines(title, xTitle, all, wide2, high) {
    const points = all.flatMap((l) => [
      ...l.points,
      ...(l.band ?? []).flatMap(([x2, low2, up2]) => [
        [x2, low2],
        [x2, up2]
      ])
    ]);
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]), low = Math.min(...ys), up = Math.max(...ys), pad = (up - low || 1) * 0.05;
    const { box, x, y } = frame(title, xTitle, [Math.min(...xs), Math.max(...xs)], [low - pad, up + pad], wide2, high);
    for (const l of all) {
      const group = svg("g", { "data-c": l.configuration, class: `series ${l.colour}` }, svg("title", {}, l.name));
      if (l.band && l.band.length > 1)
        group.append(
          svg("path", {
            class: "band",
            d: `${path([...l.band.map(([a, b]) => [x(a), y(b)]), ...[...l.band].reverse().map(([a, , b]) => [x(a), y(b)])])}Z`
          })
        );
      group.append(svg("path", { class: "line", d: path(l.points.map(([a, b]) => [x(a), y(b)])) }));
      if (l.points.length < 40)
        for (const [a, b] of l.points) group.append(svg("circle", { class: "dot", cx: x(a), cy: y(b), r: 2.8 }));
      box.append(group);
    }
    return box;
  }
  function range(value, from, to, [low, high], wide2, colour2) {
    const x = (v) => 4 + (Math.min(high, Math.max(low, v)) - low) / (high - low || 1) * (wide2 - 8);
    const box = svg("svg", { class: `whisker ${colour2}`, width: wide2, height: 18, viewBox: `0 0 ${wide2} 18`, "aria-hidden": "true" });
    if (low < 0 && high > 0) box.append(svg("line", { class: "base", x1: x(0), x2: x(0), y1: 0, y2: 18 }));
    if (from !== null && to !== null) box.append(svg("line", { class: "range", x1: x(from), x2: x(to), y1: 9, y2: 9 }));
    box.append(svg("circle", { class: "dot", cx: x(value), cy: 9, r: 4 }));
    return box;
  }

  // src/settings.ts
  function settings(app2) {
    const { study: study3 } = app2, measure = measureOf(app2);
    if (!study3.settings.length || !measure) return [nothing("All trials have the same settings.")];
    const found = [];
    if (study3.effects.length) {
      const bounds = study3.effects.flatMap((e) => [e.difference.value, e.difference.low ?? 0, e.difference.high ?? 0]);
      const axis = [Math.min(0, ...bounds), Math.max(...bounds)];
      const rows = study3.effects.map(
        (e) => h(
          "tr",
          { class: e.plain ? "plain" : "" },
          h("th", { scope: "row" }, e.settings.join(" × ")),
          h("td", {}, e.contrast),
          h("td", {}, range(e.difference.value, e.difference.low, e.difference.high, axis, 180, e.plain ? "c0" : "cx")),
          h("td", { class: "plain-number" }, `${fixed(e.difference.value, 3)} ${interval(e.difference.low, e.difference.high, 3)}`),
          h(
            "td",
            { class: "plain-number" },
            e.difference.low === null ? "no interval: noise not known" : e.plain ? "beyond noise" : "not shown to matter"
          ),
          h("td", {}, ...e.levels.map((l) => h("span", { class: "level" }, `${l.value}: ${fixed(l.mean, 3)} (n=${l.trials})`)))
        )
      );
      found.push(
        h("h3", {}, "Which settings matter"),
        note(
          `In the main score (${study3.measures.find((m) => m.key === study3.main)?.name ?? ""}): each setting alone, its best value against its worst, by all trials; then the largest interaction of each two. The intervals of all settings hold together with 95%, and so do those of all interactions.`
        ),
        scrolling(
          "Which settings matter",
          h(
            "table",
            { id: "effects", class: "plain-table" },
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                ...["setting", "best value over worst", "", "difference [95% interval]", "", "mean of each value"].map(
                  (x) => h("th", { scope: "col" }, x)
                )
              )
            ),
            h("tbody", {}, ...rows)
          )
        )
      );
    }
    found.push(
      h("h3", {}, "Settings and score"),
      note("A line is a configuration; the ticked ones have colour. Choose a value on an axis to keep only its configurations."),
      parallel(app2)
    );
    const heat = heatMap(app2);
    if (heat) found.push(...heat);
    return found;
  }
  function parallel(app2) {
    const { study: study3 } = app2, main = measureIndex(app2), measure = measureOf(app2), high = 250, top = 30;
    const all = study3.configurations.filter((c) => c.scores[main]), keys2 = study3.settings, [low, up] = domain(app2, main, all);
    const step = Math.max(130, Math.min(340, (wide(1300) - 150) / keys2.length)), whole = 90 + step * keys2.length + 60;
    const axes = keys2.map((key, i) => {
      const values = sortedUnique(all.map((c) => c.settings[key] ?? ""));
      return {
        key,
        x: 90 + i * step,
        values,
        y: (v) => high - top - (values.length > 1 ? values.indexOf(v) / (values.length - 1) : 0.5) * (high - 2 * top - 10)
      };
    });
    const last = 90 + keys2.length * step, yScore = (v) => high - top - (v - low) / (up - low) * (high - 2 * top - 10);
    const box = svg("svg", {
      class: "plot parallel",
      id: "parallel",
      width: whole,
      height: high,
      viewBox: `0 0 ${whole} ${high}`,
      role: "group",
      "aria-label": "Settings and score of each configuration; the numbers are in the leaderboard"
    });
    const ordered = [...all].sort((a, b) => Number(colourOf(app2, a) !== null) - Number(colourOf(app2, b) !== null));
    for (const c of ordered)
      box.append(
        svg(
          "g",
          { "data-c": c.index, class: `series ${colour(app2, c)}` },
          svg("title", {}, `${c.name}: ${shown(c.scores[main], measure?.digits ?? 3)}`),
          svg("path", {
            class: "line",
            d: path([
              ...axes.map((a) => [a.x, a.y(c.settings[a.key] ?? "")]),
              [last, yScore(c.scores[main]?.value ?? low)]
            ])
          })
        )
      );
    for (const a of axes) {
      const short = study3.shortSetting.get(a.key) ?? a.key;
      box.append(
        svg("line", { class: "axis", x1: a.x, x2: a.x, y1: top, y2: high - top }),
        svg("text", { x: a.x, y: 14, "text-anchor": "middle", class: "title" }, short)
      );
      const shownValues = a.values.length > 12 ? a.values.filter((_, i) => i % Math.ceil(a.values.length / 12) === 0) : a.values;
      for (const v of shownValues) {
        const pick = () => app2.change({ query: `${app2.view.query} ${condition(short, v)}`.trim() });
        const words2 = svg(
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
            keydown: (e) => {
              if (e.key === "Enter" || e.key === " ") {
                e.preventDefault();
                pick();
              }
            }
          },
          v === "" ? "none" : v.length > 16 ? `…${v.slice(-15)}` : v
        );
        if (v.length > 16) words2.append(svg("title", {}, v));
        box.append(words2);
      }
    }
    box.append(
      svg("line", { class: "axis", x1: last, x2: last, y1: top, y2: high - top }),
      svg("text", { x: last, y: 14, "text-anchor": "middle", class: "title" }, measure?.short ?? ""),
      svg("text", { x: last + 8, y: top + 14 }, fixed(up, 2)),
      svg("text", { x: last + 8, y: high - top + 4 }, fixed(low, 2))
    );
    return scrolling("Settings and score", box);
  }
  function heatMap(app2) {
    const { study: study3 } = app2, main = measureIndex(app2), measure = measureOf(app2);
    const wanted = ["lora.rank", "optimizer.lr"].filter((k) => study3.settings.includes(k)), pair = [...wanted, ...study3.settings.filter((k) => !wanted.includes(k))].slice(0, 2);
    const [one, two] = pair;
    if (one === void 0 || two === void 0 || !measure) return null;
    const firsts = sortedUnique(study3.configurations.map((c) => c.settings[one] ?? "")), seconds = sortedUnique(study3.configurations.map((c) => c.settings[two] ?? ""));
    if (firsts.length > 20 || seconds.length > 20) return null;
    const values = study3.configurations.map((c) => c.scores[main]?.value).filter((v) => v !== void 0), low = Math.min(...values), high = Math.max(...values);
    const rows = firsts.map(
      (a) => h(
        "tr",
        {},
        h("th", { scope: "row" }, a),
        ...seconds.map((b) => {
          const here = study3.configurations.filter((c) => c.settings[one] === a && c.settings[two] === b), scored = here.filter((c) => c.scores[main]);
          const trials = here.flatMap((c) => c.trials), lost = trials.filter((t) => t.state !== "done").length, seeds = scored.reduce((n, c) => n + c.seeds.length, 0);
          if (!here.length) return h("td", { class: "none" }, "not tried");
          const mean = scored.length ? scored.reduce((sum, c) => sum + (c.scores[main]?.value ?? 0), 0) / scored.length : null;
          const cell = h(
            "td",
            { "data-c": here[0]?.index ?? "" },
            h("b", {}, mean === null ? "–" : fixed(mean, measure.digits)),
            h("small", {}, `n=${seeds}${lost ? `, ${lost} not done` : ""}`)
          );
          if (mean !== null)
            cell.style.setProperty("--heat", String(Math.round((high > low ? (mean - low) / (high - low) : 0.5) * 42)));
          return cell;
        })
      )
    );
    const names = [one, two].map((k) => study3.shortSetting.get(k) ?? k);
    return [
      h("h3", {}, `${names[0]} and ${names[1]}`),
      note(
        `Mean of ${measure.name}; n: trials.${study3.settings.length > 2 ? " Where other settings vary too, the mean is over them." : ""}`
      ),
      scrolling(
        "Two settings",
        h(
          "table",
          { class: "heat", id: "heat" },
          h("thead", {}, h("tr", {}, h("td", {}, `${names[0]} ↓ ${names[1]} →`), ...seconds.map((b) => h("th", { scope: "col" }, b)))),
          h("tbody", {}, ...rows)
        )
      )
    ];
  }

  // src/training.ts
  function curve(c, kind) {
    const at = /* @__PURE__ */ new Map();
    for (const t of c.trials) for (const [step, value] of t.curves[kind] ?? []) at.set(step, [...at.get(step) ?? [], value]);
    const steps = [...at.keys()].sort((a, b) => a - b), mean = (v) => v.reduce((x, y) => x + y, 0) / v.length;
    return {
      points: steps.map((s) => [s, mean(at.get(s) ?? [])]),
      band: steps.map((s) => [s, Math.min(...at.get(s) ?? []), Math.max(...at.get(s) ?? [])])
    };
  }
  function training(app2) {
    const list = chosen(app2), found = [legend(app2, list)], charts = h("div", { class: "charts" });
    app2.study.curves.forEach((name, kind) => {
      const all = list.map((c) => ({ c, ...curve(c, kind) })).filter((x) => x.points.length);
      if (!all.length) return;
      const drawn = all.map(({ c, points, band }) => ({
        colour: colour(app2, c),
        name: c.name,
        configuration: c.index,
        points,
        ...c.seeds.length > 1 ? { band } : {}
      }));
      const rows = all.map(({ c, points }) => {
        const first = points[0], last = points.at(-1);
        return h(
          "tr",
          { "data-c": c.index },
          h("th", { scope: "row" }, swatch(app2, c), c.name),
          h("td", {}, first && last ? `${fixed(first[1], 3)} at step ${first[0]} → ${fixed(last[1], 3)} at step ${last[0]}` : "")
        );
      });
      charts.append(
        h(
          "figure",
          { class: "curve" },
          h("h3", {}, name),
          lines(
            `${name} by training step; the first and last values are in the table below`,
            "training step",
            drawn,
            wide(520),
            260
          ),
          h("table", { class: "plain-table" }, h("tbody", {}, ...rows))
        )
      );
    });
    const film = filmstrip(app2, list);
    if (!charts.childElementCount && !film.length) return [...found, nothing("These trials left no record of their training.")];
    return [...found, note("Mean over the seeds; the band spans all of them."), charts, ...film];
  }

  // src/classes.ts
  function classes(app2) {
    const { study: study3, view: view2 } = app2, list = chosen(app2), which = Math.max(0, study3.classMeasures.indexOf(view2.classMeasure));
    const score2 = (c, i) => c.classes[which]?.[i] ?? null;
    const level = (i) => {
      const v = list.map((c) => score2(c, i)?.value).filter((x) => x !== void 0);
      return v.length ? v.reduce((a, b) => a + b, 0) / v.length : 2;
    };
    let order = study3.scored.map((cls, i) => ({ cls, i, level: level(i) })).sort((a, b) => a.level - b.level);
    const many = order.length > MANY_CLASSES;
    if (many && !view2.allClasses) order = order.slice(0, MANY_CLASSES);
    const every = h("input", { type: "checkbox", "data-k": "all-classes", change: () => app2.change({ allClasses: every.checked }) });
    every.checked = view2.allClasses;
    const rows = order.map(
      ({ cls, i }) => h(
        "tr",
        {},
        h("th", { scope: "row" }, className(study3, cls)),
        ...list.map((c) => {
          const s = score2(c, i);
          return h(
            "td",
            { "data-c": c.index },
            h(
              "span",
              { class: "line" },
              s ? range(s.value, s.low, s.high, [0, 1], 120, colour(app2, c)) : "",
              s ? fixed(s.value, 2) : "not measured"
            ),
            h("small", {}, s ? `${interval(s.low, s.high, 2)} n=${s.n}` : "")
          );
        }),
        h("td", {}, taken(app2, list[0], cls))
      )
    );
    return [
      h(
        "p",
        { class: "tools" },
        choice(
          app2,
          "Measure",
          "classMeasure",
          study3.classMeasures[which] ?? "",
          study3.classMeasures.map((m) => [m, m])
        ),
        many ? h("label", { id: "all-classes" }, every, " all classes") : null
      ),
      note("Weakest class first. Mean over the seeds and the range of the seeds; of one seed the 95% interval."),
      scrolling(
        "Class by class",
        h(
          "table",
          { class: "plain-table", id: "classes" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, "class"),
              ...list.map((c) => h("th", { scope: "col", "data-c": c.index }, swatch(app2, c), c.name)),
              h("th", { scope: "col" }, list[0] ? `most often taken for, by the ${study3.matrices[0]?.[1] ?? "gate"} (${list[0].name})` : "")
            )
          ),
          h("tbody", {}, ...rows)
        )
      )
    ];
  }
  function taken(app2, c, cls) {
    const row = c?.matrices[0]?.[cls] ?? [], n = row.reduce((a, b) => a + b, 0);
    const worst = row.map((count, other) => ({ count, other })).filter((x) => x.other !== cls).sort((a, b) => b.count - a.count)[0];
    return worst && worst.count ? `${className(app2.study, worst.other)} (${worst.count} of ${n})` : n ? "nothing else" : "not known";
  }

  // src/cost.ts
  function cost(app2) {
    const { study: study3 } = app2, main = measureIndex(app2), measure = measureOf(app2), at = study3.measures.findIndex((m) => m.alias === "cost");
    const all = study3.configurations.flatMap((c) => {
      const x2 = c.scores[at]?.value, y2 = c.scores[main]?.value;
      return x2 === void 0 || y2 === void 0 ? [] : [{ c, x: x2, y: y2 }];
    });
    if (!measure || at < 0 || at === main || !all.length)
      return [nothing("Cost and score are not both measured; choose another score.")];
    const better = (a, b) => (a - b) * (measure.better || 1);
    const front = all.filter((p) => !all.some((o) => o !== p && o.x <= p.x && better(o.y, p.y) >= 0 && (o.x < p.x || better(o.y, p.y) > 0))).sort((a, b) => a.x - b.x);
    const bounds = (v) => {
      const low = Math.min(...v), high = Math.max(...v), pad = (high - low || Math.abs(high) || 1) * 0.08;
      return [low - pad, high + pad];
    };
    const { box, x, y } = frame(
      `${measure.name} against cost`,
      "seconds of drawing for each accepted image",
      bounds(all.map((p) => p.x)),
      bounds(all.map((p) => p.y)),
      wide(720),
      340
    );
    box.append(svg("path", { class: "front", d: path(front.map((p) => [x(p.x), y(p.y)])) }));
    for (const p of all)
      box.append(
        svg(
          "g",
          { "data-c": p.c.index, class: `series ${colour(app2, p.c)}` },
          svg("title", {}, `${p.c.name}: ${fixed(p.y, measure.digits)} at ${fixed(p.x, 2)} s`),
          svg("circle", { class: "dot", cx: x(p.x), cy: y(p.y), r: 5 })
        )
      );
    const rows = front.map(
      (p) => h(
        "tr",
        { "data-c": p.c.index },
        h("th", { scope: "row" }, swatch(app2, p.c), p.c.name),
        h("td", {}, `${fixed(p.x, 2)} s for each accepted image`),
        h("td", {}, shown(p.c.scores[main], measure.digits))
      )
    );
    return [
      h("h3", {}, `${measure.name} against cost`),
      note(`A point is a configuration. The line joins those that no other beats in both cost and ${measure.name}.`),
      legend(app2, chosen(app2)),
      scrolling("Cost and score", box),
      h("h3", {}, "Beaten by none in both"),
      scrolling("Beaten by none in both", h("table", { class: "plain-table", id: "front" }, h("tbody", {}, ...rows)))
    ];
  }

  // src/compare.ts
  function compare(app2) {
    const { study: study3, view: view2 } = app2, list = chosen(app2), base = list.find((c) => c === baseline(app2)) ?? list[0];
    if (list.length < 2 || !base) return [nothing("Tick two to eight configurations in the table above.")];
    const head2 = (corner) => h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, corner),
        ...list.map(
          (c) => h(
            "th",
            { scope: "col", "data-c": c.index },
            swatch(app2, c),
            c.name,
            c === base ? h("small", {}, "★ compared with") : null
          )
        )
      )
    );
    const unlike = study3.settings.filter((k) => new Set(list.map((c) => c.settings[k] ?? "")).size > 1), alike = study3.settings.filter((k) => !unlike.includes(k));
    const setting = h(
      "table",
      { class: "plain-table", id: "unlike" },
      head2("setting"),
      h(
        "tbody",
        {},
        ...unlike.map(
          (k) => h(
            "tr",
            {},
            h("th", { scope: "row" }, h("code", {}, k)),
            ...list.map((c) => h("td", { class: c.settings[k] === base.settings[k] ? "" : "changed" }, c.settings[k] ?? "not set"))
          )
        ),
        h("tr", {}, h("th", { scope: "row" }, "seeds done"), ...list.map((c) => h("td", {}, c.seeds.join(", ") || "none")))
      )
    );
    const same = h(
      "details",
      {},
      h("summary", {}, `${alike.length + Object.keys(study3.common).length} settings in which they are alike`),
      h(
        "dl",
        { class: "facts" },
        ...[...alike.map((k) => [k, list[0]?.settings[k] ?? ""]), ...Object.entries(study3.common)].sort((a, b) => inOrder(a[0] ?? "", b[0] ?? "")).flatMap(([k = "", v = ""]) => [h("dt", {}, k), h("dd", {}, v)])
      )
    );
    const measures = h(
      "table",
      { class: "plain-table", id: "scores" },
      head2("score"),
      h(
        "tbody",
        {},
        ...study3.measures.filter((_, i) => list.some((c) => c.scores[i])).map((m) => {
          const i = study3.measures.indexOf(m);
          return h(
            "tr",
            {},
            h(
              "th",
              { scope: "row", title: m.help },
              m.name,
              h("small", {}, { "1": "higher is better", "-1": "lower is better", "0": "" }[m.better])
            ),
            ...list.map((c) => {
              const d = c === base ? null : difference(study3, i, c, base);
              return h(
                "td",
                { class: d?.plain ? "plain" : "" },
                shown(c.scores[i], m.digits),
                d ? h(
                  "small",
                  {},
                  `${shownDifference(d, m.digits)} ${d.plain === null ? "noise not known" : d.plain ? "beyond noise" : "within noise"}`
                ) : null
              );
            })
          );
        })
      )
    );
    return [
      h("h3", {}, "What differs in their settings"),
      scrolling("Settings that differ", setting),
      same,
      h("h3", {}, "Scores"),
      note(
        "Mean over the seeds, 95% interval, n. Below: the difference from ★, paired over seeds, its interval corrected for all pairs of configurations."
      ),
      scrolling("Scores", measures),
      ...confusion(app2, list, base),
      h("h3", {}, "Images, slot by slot, with all attempts"),
      note(
        `${className(study3, columnsOf(app2, 1)[0]?.cls ?? null)}${view2.cls ? "" : " and the other classes"}: attempts in their order; under each the gate’s word.`
      ),
      attempts(app2, list),
      h("h3", {}, "How to repeat each trial"),
      ...list.flatMap((c) => [
        h("h4", { "data-c": c.index }, swatch(app2, c), c.name),
        ...c.trials.map(
          (t) => h(
            "div",
            { class: "again" },
            h("span", { class: `pill ${t.state}` }, `seed ${t.seed || "unknown"} ${t.state}`),
            h("span", { class: "why" }, [t.maker && `by ${t.maker}`, t.source && `from ${t.source}`, t.problem].filter(Boolean).join("; ")),
            t.command ? copyable(t.command, `the command of seed ${t.seed}`) : null
          )
        )
      ])
    ];
  }
  function confusion(app2, list, base) {
    const { study: study3 } = app2, which = study3.matrices.findIndex((_, i) => list.some((c) => c.matrices[i]?.length));
    if (which < 0 || study3.classes.length > MANY_CLASSES)
      return [note("There are too many classes or trials here; the trials’ own pages have the confusion matrices.")];
    const kind = app2.view.matrix in study3.matrices ? Number(app2.view.matrix) : which, [stage, scorer] = study3.matrices[kind] ?? ["", ""];
    const select = h(
      "select",
      { "data-k": "matrix", change: () => app2.change({ matrix: select.value }) },
      ...study3.matrices.map(([a, b], i) => h("option", { value: i }, `${a}, by the ${b}`))
    );
    select.value = String(kind);
    const table = (c, rows, minus) => {
      const share = (m, i, j) => {
        const n = (m[i] ?? []).reduce((a, b) => a + b, 0);
        return n ? (m[i]?.[j] ?? 0) / n : 0;
      };
      return h(
        "table",
        { class: "matrix" },
        h("caption", {}, c.name, minus ? ", minus ★ (percentage points)" : ""),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td", {}, "requested ↓ named →"),
            ...study3.classes.map(([, name], i) => h("th", { scope: "col", title: name }, h("span", {}, shortClass(study3, i))))
          )
        ),
        h(
          "tbody",
          {},
          ...rows.map(
            (row, i) => h(
              "tr",
              {},
              h("th", { scope: "row" }, study3.classes[i]?.[1] ?? ""),
              ...row.map((count, j) => {
                const value = minus ? share(rows, i, j) - share(minus, i, j) : share(rows, i, j);
                const cell = h(
                  "td",
                  { class: `${i === j ? "own" : ""}${minus ? value * (i === j ? 1 : -1) >= 0 ? " gain" : " loss" : ""}` },
                  minus ? Math.round(100 * value) ? fixed(100 * value, 0) : "" : count ? String(count) : ""
                );
                cell.style.setProperty("--heat", String(Math.round(Math.min(1, Math.abs(value) * (minus ? 2 : 1)) * 38)));
                return cell;
              })
            )
          )
        )
      );
    };
    const own2 = base.matrices[kind] ?? [];
    const made = list.flatMap((c) => {
      const m = c.matrices[kind] ?? [];
      return m.length ? [h("div", { "data-c": c.index, class: "pair" }, table(c, m, null), c !== base && own2.length ? table(c, m, own2) : null)] : [];
    });
    return [
      h("h3", {}, "Confusion matrices and their difference"),
      h("p", { class: "tools" }, h("label", {}, "Images ", select)),
      note(`Counts of images ${stage}, named by the ${scorer}, over all seeds; rows: requested.`),
      scrolling("Confusion matrices", h("div", { class: "matrices", id: "matrices" }, ...made))
    ];
  }
  function attempts(app2, list) {
    const slots = columnsOf(app2, 9), side = 64;
    const rows = list.filter(hasImages).map((c) => {
      const t = pictured(app2, c);
      return h(
        "tr",
        { "data-c": c.index },
        h("th", { scope: "row" }, swatch(app2, c), c.name, h("small", {}, t ? `seed ${t.seed}` : "")),
        ...slots.map(
          (s) => h(
            "td",
            {},
            h(
              "div",
              { class: "tries" },
              ...(t?.attempts().get(slotKey(s.cls, s.slot)) ?? []).map(
                (a) => h(
                  "figure",
                  {},
                  t ? tile(app2, t, a, side, "try") : null,
                  h(
                    "figcaption",
                    {},
                    a.accepted ? `${a.attempt + 1}: accepted` : `${a.attempt + 1}: ${a.seen !== null && a.seen !== a.class ? `seen as ${className(app2.study, a.seen)}` : a.reason || "rejected"}`
                  )
                )
              )
            )
          )
        )
      );
    });
    return scrolling(
      "All attempts",
      h(
        "table",
        { class: "images tried", id: "attempts" },
        h("thead", {}, h("tr", {}, h("td", {}), ...slots.map((s) => h("th", { scope: "col" }, h("span", {}, s.head))))),
        h("tbody", {}, ...rows)
      )
    );
  }

  // src/search.ts
  var DIGITS = 3;
  var pointsOf = (search2) => search2.points.map(([number2, state, values, reason, settings2, configuration]) => ({
    number: number2,
    state,
    values,
    reason,
    settings: settings2,
    configuration
  }));
  function records(points, objective, better) {
    const found = [];
    for (const point of points) {
      const value = point.values[objective], best = found.at(-1)?.value;
      if (point.state === "done" && typeof value === "number" && (best === void 0 || (value - best) * better > 0))
        found.push({ point, value });
    }
    return found;
  }
  function search(app2) {
    const found = app2.study.search;
    if (!found) return [nothing("This study is no search.")];
    if (found.note) return [nothing(found.note)];
    const points = pointsOf(found);
    return [
      note(counts(points)),
      ...found.objectives.flatMap(([name, better], i) => history2(app2, points, i, name, better)),
      ...unfinished(app2, points),
      ...importance(found)
    ];
  }
  function counts(points) {
    const states = [...new Set(points.map((p) => p.state))];
    return `${points.length} trials: ${states.map((s) => `${points.filter((p) => p.state === s).length} ${s}`).join(", ")}`;
  }
  function history2(app2, points, objective, name, better) {
    const scored = points.flatMap((p) => {
      const value = p.values[objective];
      return typeof value === "number" ? [{ p, value }] : [];
    });
    const best = records(points, objective, better);
    if (!scored.length) return [h("h3", {}, name), nothing("No trial has a score yet.")];
    const values = scored.map((s) => s.value), low = Math.min(...values), high = Math.max(...values), pad = (high - low || Math.abs(high) || 1) * 0.08, last = points.at(-1)?.number ?? 0;
    const title = `${name} of each trial of the search, and the best so far`;
    const { box, x, y } = frame(title, "trial of the search", [-0.5, Math.max(1, last) + 0.5], [low - pad, high + pad], wide(720), 320);
    box.append(svg("path", { class: "front", d: path(stairs(best, last).map(([a, b]) => [x(a), y(b)])) }));
    for (const { p, value } of scored) {
      const c = app2.study.configurations[p.configuration], words2 = `trial ${p.number}: ${fixed(value, DIGITS)}, ${p.state === "done" ? "" : `${p.reason || p.state}, `}${p.settings}`;
      box.append(
        svg(
          "g",
          { ...c ? { "data-c": c.index } : {}, class: `series ${c ? colour(app2, c) : "cx"}` },
          svg("title", {}, words2),
          p.state === "done" ? svg("circle", { class: "dot", cx: x(p.number), cy: y(value), r: 4.5 }) : cross(x(p.number), y(value))
        )
      );
    }
    const rows = best.map(
      ({ point, value }) => h("tr", { ...own(app2, point) }, ...named(app2, point), h("td", {}, fixed(value, DIGITS)), h("td", {}, point.settings))
    );
    return [
      h("h3", {}, name),
      note(
        `● a trial with a score; ✕ one that was pruned, at the last score that it reported; the dashed line is the best so far. ${better > 0 ? "Higher" : "Lower"} is better.`
      ),
      scrolling(title, box),
      scrolling(
        "Trials that were better than all before them",
        h(
          "table",
          { class: "plain-table records" },
          h("caption", {}, "Trials that were better than all before them"),
          h("thead", {}, h("tr", {}, ...["trial", "score", "settings"].map((word) => h("th", { scope: "col" }, word)))),
          h("tbody", {}, ...rows)
        )
      )
    ];
  }
  function stairs(best, last) {
    return best.flatMap(({ point, value }, i) => [
      [point.number, value],
      [best[i + 1]?.point.number ?? last, value]
    ]);
  }
  var cross = (x, y) => {
    const [w, e, n, s] = [x - 4, x + 4, y - 4, y + 4];
    return svg("path", { class: "cross", d: `M${w} ${n}L${e} ${s}M${w} ${s}L${e} ${n}` });
  };
  var own = (app2, p) => app2.study.configurations[p.configuration] ? { "data-c": p.configuration } : {};
  var named = (app2, p) => {
    const c = app2.study.configurations[p.configuration];
    return [h("th", { scope: "row" }, c ? swatch(app2, c) : null, String(p.number))];
  };
  function unfinished(app2, points) {
    const list = points.filter((p) => p.state === "pruned" || p.state === "failed");
    if (!list.length) return [];
    const rows = list.map(
      (p) => h("tr", { ...own(app2, p) }, ...named(app2, p), h("td", {}, p.reason || p.state), h("td", {}, p.settings))
    );
    return [
      h(
        "details",
        { id: "pruned" },
        h("summary", {}, `${list.length} trial${list.length > 1 ? "s" : ""} that ended before a score, and when`),
        scrolling(
          "Trials that ended before a score",
          h(
            "table",
            { class: "plain-table" },
            h("thead", {}, h("tr", {}, ...["trial", "what happened", "settings"].map((word) => h("th", { scope: "col" }, word)))),
            h("tbody", {}, ...rows)
          )
        )
      )
    ];
  }
  function importance(search2) {
    const heading = h("h3", {}, "Which settings matter");
    if (!search2.importance.length) return [heading, nothing(`No importance is shown. ${search2.absent}`)];
    const rows = search2.importance.map(
      ([key, share]) => h(
        "tr",
        {},
        h("th", { scope: "row" }, key),
        h("td", {}, `${Math.round(100 * share)}%`),
        h("td", {}, bar(share))
      )
    );
    return [
      heading,
      note(
        `How much of the variation of ${search2.objectives[0]?.[0] ?? "the score"} each setting explains over the trials with a score, by Optuna (fANOVA). It describes this search, not what another would find.`
      ),
      h("table", { class: "plain-table", id: "importance" }, h("tbody", {}, ...rows))
    ];
  }
  function bar(share) {
    const width2 = 160;
    return svg(
      "svg",
      { width: width2, height: 14, viewBox: `0 0 ${width2} 14`, "aria-hidden": "true", class: "c0" },
      svg("rect", { class: "share", x: 0, y: 2, height: 10, width: Math.max(1, width2 * Math.min(1, share)) })
    );
  }

  // src/tabs.ts
  var DRAWN = {
    images: { name: "Images", draw: images },
    settings: { name: "Settings", draw: settings },
    training: { name: "Training", draw: training },
    classes: { name: "Classes", draw: classes },
    cost: { name: "Cost", draw: cost },
    compare: { name: "Compare", draw: compare },
    search: { name: "Search", draw: search }
  };
  var tabsOf = (app2) => TABS.filter((tab) => tab !== "search" || app2.study.search !== null);
  var openTab = (app2) => tabsOf(app2).find((tab) => tab === app2.view.tab) ?? "images";

  // src/main.ts
  var study2 = study(JSON.parse(byId("study").textContent ?? ""));
  var hasPictures = study2.trials.some((t) => t.sprite);
  if (!hasPictures && study2.scored.length) PLAIN.tab = "classes";
  var view = read(location.hash);
  var written = location.hash.replace(/^#/, "");
  var app = {
    study: study2,
    get view() {
      return view;
    },
    change,
    say: (text) => {
      byId("said").textContent = text;
    }
  };
  function change(patch, typing = false) {
    view = { ...view, ...patch };
    written = write(view);
    if (typing) history.replaceState(null, "", `#${written}`);
    else if (location.hash.replace(/^#/, "") !== written) location.hash = written;
    draw();
  }
  addEventListener("hashchange", () => {
    const hash = location.hash.replace(/^#/, "");
    if (hash === written) return;
    written = hash;
    view = read(hash);
    draw();
  });
  var STATES2 = ["done", "running", "waiting", "failed", "unreadable", "interrupted", "pruned", "missing"];
  function drawTools() {
    const box = byId("query"), asked = query(app);
    if (box.value !== view.query) box.value = view.query;
    byId("problem").textContent = asked.problem;
    box.setAttribute("aria-invalid", String(asked.problem !== ""));
    byId("measure").value = study2.measures[measureIndex(app)]?.alias ?? "";
    byId("seed").value = view.seed || commonSeed(app);
    byId("class").value = view.cls;
    byId("attempt").value = view.kind;
    byId("every").checked = view.every;
    for (const box2 of byId("columns").querySelectorAll("input"))
      box2.checked = box2.dataset["usual"] === "1" !== view.hidden.includes(box2.value);
    byId("chosen").replaceChildren(
      ...chosen(app).map(
        (c) => h(
          "button",
          {
            type: "button",
            class: "chip",
            "data-c": c.index,
            "data-k": `chip/${c.id}`,
            "aria-label": `remove ${c.name} from the tabs`,
            title: "remove",
            click: () => toggleChosen(app, c)
          },
          swatch(app, c),
          c.name,
          h("span", { "aria-hidden": "true" }, " ×")
        )
      )
    );
  }
  function drawTabs() {
    const bar2 = byId("tabs"), open = openTab(app);
    bar2.replaceChildren(
      ...tabsOf(app).map(
        (tab) => h(
          "button",
          {
            type: "button",
            role: "tab",
            id: `tab-${tab}`,
            "aria-selected": String(tab === open),
            "aria-controls": "panel",
            tabindex: tab === open ? 0 : -1,
            "data-k": `tab/${tab}`,
            click: () => change({ tab })
          },
          DRAWN[tab].name
        )
      )
    );
    const panel = byId("panel");
    panel.setAttribute("aria-labelledby", `tab-${open}`);
    panel.replaceChildren(...DRAWN[open].draw(app));
  }
  function draw() {
    const active = document.activeElement?.dataset["k"], low = byId("panel").offsetHeight;
    byId("panel").style.minHeight = `${low}px`;
    drawTools();
    drawRunning(app);
    drawBoard(app);
    drawTabs();
    byId("panel").style.minHeight = "";
    if (active) document.querySelector(`[data-k="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
  }
  function prepare() {
    const { verdict } = study2, box = byId("query");
    const chip = byId("verdict");
    chip.classList.add(verdict.sure === null ? "unknown" : verdict.sure ? "sure" : "unsure");
    const lacking = verdict.sure === null ? "The scatter of trials is not known yet. These commands run more seeds of the leader and the runner-up, which show it:" : "These commands run the missing seeds of the leader and the runner-up:";
    const enough = verdict.sure ? "Nothing more is needed: the lead is beyond noise." : "No affordable number of seeds would settle it; ask whether the difference matters.";
    byId("why").append(
      ...verdict.weakness ? [h("p", { id: "weakness" }, verdict.weakness)] : [],
      h(
        "div",
        { id: "settle" },
        h("h3", {}, "What would settle it"),
        h("p", {}, verdict.settle.length ? lacking : enough),
        ...verdict.settle.map((c) => copyable(c, "the command"))
      )
    );
    byId("facts").textContent = study2.facts.join(" · ");
    const counts2 = STATES2.map((s) => [s, study2.trials.filter((t) => t.state === s).length]).filter(([, n]) => n);
    byId("states").append(
      ...counts2.map(
        ([s, n]) => h(
          "button",
          {
            type: "button",
            class: `pill ${s}`,
            title: `show the configurations with a trial that is ${s}`,
            click: () => change({ query: `state:${s}` })
          },
          `${n} ${s}`
        )
      )
    );
    const unfinished2 = study2.trials.filter((t) => t.state === "done" ? t.problem : !["running", "waiting"].includes(t.state));
    const conflicts = unfinished2.some((t) => t.state === "done");
    if (unfinished2.length)
      byId("unfinished").append(
        h("summary", {}, `${unfinished2.length} trial${unfinished2.length > 1 ? "s" : ""} that did not finish${conflicts ? " or whose results conflict" : ""}, and why`),
        h(
          "ul",
          {},
          ...unfinished2.map(
            (t) => h(
              "li",
              {},
              h("b", {}, t.state === "done" ? "conflict" : t.state),
              ` ${t.configuration.name}, seed ${t.seed || "unknown"}: ${t.problem || "no reason was written"}`
            )
          )
        )
      );
    byId("unfinished").hidden = !unfinished2.length;
    box.addEventListener("input", () => change({ query: box.value }, true));
    const select = (id, options, set) => {
      const made = byId(id);
      made.append(...options.map(([v, text]) => h("option", { value: v }, text)));
      made.addEventListener("change", () => set(made.value));
    };
    select(
      "measure",
      study2.measures.map((m) => [m.alias, m.name]),
      (measure) => change({ measure, sort: "", down: false })
    );
    select(
      "seed",
      study2.seeds.map((s) => [s, s || "unknown"]),
      (seed) => change({ seed })
    );
    select(
      "class",
      [
        ["", "one of each class"],
        ...study2.pictured.map((i) => [study2.classes[i]?.[0] ?? "", shortClass(study2, i)])
      ],
      (cls) => change({ cls })
    );
    select(
      "attempt",
      [
        ["first", "first attempts"],
        ["last", "accepted, or else last attempts"]
      ],
      (kind) => change({ kind: kind === "last" ? "last" : "first" })
    );
    byId("every").addEventListener("change", () => change({ every: byId("every").checked }));
    byId("columns").append(
      ...study2.measures.map(
        (m) => h(
          "label",
          { title: m.help },
          h("input", {
            type: "checkbox",
            value: m.alias,
            "data-usual": USUAL.includes(m.alias) ? "1" : "0",
            change: () => change({ hidden: view.hidden.includes(m.alias) ? view.hidden.filter((x) => x !== m.alias) : [...view.hidden, m.alias] })
          }),
          ` ${m.name}`
        )
      )
    );
    byId("glossary").append(...study2.measures.flatMap((m) => [h("dt", {}, `${m.name} (${m.alias})`), h("dd", {}, m.help)]));
    byId("link").addEventListener("click", () => void copy(location.href, byId("link")));
    byId("csv").addEventListener("click", () => {
      const a = h("a", { href: URL.createObjectURL(new Blob([csv(app)], { type: "text/csv" })), download: "configurations.csv" });
      a.click();
    });
    byId("reset").addEventListener("click", () => change({ ...PLAIN }));
    document.documentElement.dataset["images"] = hasPictures ? "yes" : "no";
  }
  function keys() {
    byId("tabs").addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], all = tabsOf(app), at = all.indexOf(openTab(app));
      const to = by === void 0 ? { Home: all[0], End: all.at(-1) }[event.key] : all[(at + by + all.length) % all.length];
      if (!to) return;
      event.preventDefault();
      change({ tab: to });
      byId(`tab-${to}`).focus();
    });
    byId("board").addEventListener("keydown", (event) => {
      const by = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" }[event.key];
      const from = event.target, kind = from.dataset["k"]?.split("/")[0], row = from.closest("tbody tr");
      if (!by || !kind || !row) return;
      event.preventDefault();
      for (let next = row[by]; next; next = next[by]) {
        const to = next.querySelector(`[data-k^="${kind}/"]`);
        if (to) {
          to.focus();
          to.scrollIntoView({ block: "nearest" });
          return;
        }
      }
    });
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
      event.preventDefault();
      byId("query").focus();
    });
  }
  function highlights() {
    let lit = "";
    const light = (event) => {
      const at = event.target?.closest?.("[data-c]")?.getAttribute("data-c") ?? "";
      if (at === lit) return;
      lit = at;
      for (const node of document.querySelectorAll(".lit")) node.classList.remove("lit");
      document.documentElement.classList.toggle("pointing", at !== "");
      if (at) for (const node of document.querySelectorAll(`[data-c="${CSS.escape(at)}"]`)) node.classList.add("lit");
    };
    for (const name of ["mouseover", "focusin"]) document.addEventListener(name, light);
    document.addEventListener("mouseleave", light);
  }
  function keepScroll() {
    const key = `pathsynth ${location.pathname}`, frame2 = byId("board").parentElement;
    try {
      const [hash, page, board] = JSON.parse(sessionStorage.getItem(key) ?? "[]");
      if (hash === location.hash) {
        scrollTo(0, page ?? 0);
        frame2.scrollTop = board ?? 0;
      }
      addEventListener("pagehide", () => sessionStorage.setItem(key, JSON.stringify([location.hash, scrollY, frame2.scrollTop])));
    } catch {
    }
  }
  function refresh() {
    const seconds = Number(document.documentElement.dataset["refresh"] ?? 0);
    if (!seconds) return;
    const busy = () => document.activeElement === byId("query") || byId("enlarged").open;
    const reload = () => {
      if (busy()) setTimeout(reload, 1e3);
      else location.reload();
    };
    setTimeout(reload, 1e3 * seconds);
  }
  prepare();
  keys();
  highlights();
  draw();
  keepScroll();
  refresh();
  var width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) {
      width = innerWidth;
      draw();
    }
  });
  performance.mark("usable");
  document.documentElement.dataset["ready"] = "yes";
})();
