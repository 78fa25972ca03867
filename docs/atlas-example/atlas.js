"use strict";
/*
 * The script of an atlas: a view for each address after "#", drawn from the JSON in the page.
 *
 *   #                    the tissues          #search=fat        those that a search finds
 *   #tissue=mucus        one tissue           #about             what the images can and cannot teach
 *   #test=k7q2           a self-test: its seed decides the ten images, so a link shares the test
 *   #disputed=k7q2       the same with images on which gate and judge disagree
 *   #review              spaced repetition: images answered wrongly come back soon, others later
 *
 * What a reader answered is kept in localStorage, or in memory where that is not to be had.
 * All text is set as text, never as HTML: names of classes are whatever their author typed.
 */

/** @typedef {{slug: string, name: string, aliases: string[], lookFor: string[], sources: string[], byUser: boolean}} TissueClass */
/** @typedef {{file: string, label: number, gate: number[], judge: number[]|null, near: Object<string, number>}} AtlasImage
 *  `near`: by label, the place of that class's image that is most like this one. */
/** @typedef {{title: string, key: string, size: number[], scale: string[], classes: TissueClass[], images: AtlasImage[],
 *  gateCounts: number[][], judgeCounts: number[][]|null, lookalike: number[], accepted: number}} Atlas
 *  Counts have a row a requested class, a column a class answered. */
/** @typedef {{images: number[], answers: number[]}} Round  Places of images, and the labels answered so far. */
/** @typedef {{box: number, due: number}} Card  Of spaced repetition; `due` in milliseconds since 1970. */
/** @typedef {{rounds: Object<string, Round>, counts: number[][], cards: Object<string, Card>}} Progress */

/** @type {Atlas} */
const atlas = JSON.parse(document.getElementById("atlas").textContent);
const {classes, images} = atlas;
const ROUND = 10;
const KEPT_ROUNDS = 50;
const DAY = 24 * 60 * 60 * 1000;
const DAYS = [0, 1, 3, 7, 21, 60];  // until an image of each box is asked again
const hasJudge = atlas.judgeCounts !== null;
const agreed = places().filter(i => confirmed(images[i]));
const disputed = places().filter(i => !confirmed(images[i]));

function places() { return images.map((_, i) => i); }

/** Whether gate and judge (if there is one) both take an image for what was requested. */
function confirmed(image) { return best(image.gate) === image.label && (!image.judge || best(image.judge) === image.label); }

function best(probabilities) { return probabilities.indexOf(Math.max(...probabilities)); }

// --- elements

/** An element with attributes and children; text stays text. `class` and `on…` are as in HTML. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
}

const link = (hash, text, attributes = {}) => el("a", {href: `#${hash}`, ...attributes}, text);
const tissueHash = c => `tissue=${encodeURIComponent(c.slug)}`;
const picture = (image, alt) => el("img", {src: image.file, alt, width: atlas.size[0], height: atlas.size[1]});
const percent = p => `${Math.round(100 * p)}%`;
const of = label => places().filter(i => images[i].label === label);
const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

/** An image with its probabilities, to be enlarged. */
function tile(i) {
  const image = images[i], name = classes[image.label].name;
  const marks = el("p", {class: "marks"}, el("span", {class: "gate"}, `gate ${percent(image.gate[image.label])}`));
  if (image.judge) marks.append(el("br"), el("span", {class: "judge"}, `judge ${percent(image.judge[image.label])}`));
  return el("li", {}, el("button", {class: "tile", type: "button", "aria-haspopup": "dialog", onclick: () => enlarge(i)},
    picture(image, `enlarge the synthetic image of ${name}`), marks));
}

/** A bar for each of the most probable classes. */
function bars(probabilities, scorer) {
  const order = classes.map((_, label) => label).sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 5);
  const rows = order.flatMap(label => {
    const bar = el("div", {class: "bar"});
    bar.style.width = percent(probabilities[label]);
    return [el("span", {}, classes[label].name), el("div", {class: scorer}, bar), el("span", {}, percent(probabilities[label]))];
  });
  return el("div", {class: "bars"}, ...rows);
}

function enlarge(i) {
  const image = images[i], dialog = document.getElementById("enlarged");
  dialog.replaceChildren(
    el("h1", {}, classes[image.label].name), picture(image, "the image, enlarged"),
    el("p", {class: "note"}, "Synthetic, not for diagnosis."),
    el("h2", {class: "gate"}, "The gate takes it for"), bars(image.gate, "gate"),
    ...(image.judge ? [el("h2", {class: "judge"}, "The judge takes it for"), bars(image.judge, "judge")] : []),
    el("button", {class: "button", type: "button", onclick: () => dialog.close()}, "Close (Esc)"));
  dialog.showModal();
}

/** A matrix of counts: rows what was requested, columns what was answered. */
function matrix(counts, title) {
  const head = el("tr", {}, el("td"), ...classes.map((c, i) => el("th", {scope: "col", title: c.name}, String(i + 1))));
  const body = classes.map((c, row) => {
    const total = counts[row].reduce((a, b) => a + b, 0);
    const cells = counts[row].map((n, column) => {
      const cell = el("td", {class: `${row === column ? "own " : ""}${n ? "some" : "zero"}`}, String(n));
      cell.style.setProperty("--share", String(total ? n / total : 0));
      return cell;
    });
    return el("tr", {}, el("th", {scope: "row"}, `${c.name} ${row + 1}`), ...cells);
  });
  return el("div", {}, el("h3", {}, title), el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": title},
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...body))));
}

// --- what the reader answered

const KEY = `pathsynth-atlas-${atlas.key}`;
let kept = true;
/** @type {Progress} */
let progress = load();

/** @returns {Progress} */
function load() {
  const none = {rounds: {}, counts: classes.map(() => classes.map(() => 0)), cards: {}};
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return stored && stored.rounds && stored.cards && stored.counts?.length === classes.length ? stored : none;
  } catch {
    kept = false;  // a browser that keeps nothing for pages from disk, or storage that is blocked or damaged
    return none;
  }
}

function save() {
  const names = Object.keys(progress.rounds);
  for (const name of names.slice(0, Math.max(0, names.length - KEPT_ROUNDS))) delete progress.rounds[name];
  try {
    localStorage.setItem(KEY, JSON.stringify(progress));
    kept = true;
  } catch {
    kept = false;
  }
}

const keptNote = () => el("p", {class: "note"}, kept
  ? "Your answers are kept in this browser alone."
  : "This browser keeps nothing for this page: your answers are lost when you close it.");

/** Note an answer: in the own matrix, and when the image is to be asked again. */
function note(round, answer) {
  const place = round.images[round.answers.length], image = images[place];
  round.answers.push(answer);
  if (confirmed(image)) {
    progress.counts[image.label][answer] += 1;
    const box = answer === image.label ? Math.min((progress.cards[image.file]?.box ?? 0) + 1, DAYS.length - 1) : 0;
    progress.cards[image.file] = {box, due: Date.now() + DAYS[box] * DAY};
  }
  save();
}

/** Places of images that spaced repetition asks now: what is due, the least known first, then what was never asked. */
function dueImages() {
  const card = i => progress.cards[images[i].file];
  const due = agreed.filter(i => card(i) && card(i).due <= Date.now()).sort((a, b) => card(a).box - card(b).box || card(a).due - card(b).due);
  return [...due, ...shuffled(agreed.filter(i => !card(i)), String(Object.keys(progress.cards).length))].slice(0, ROUND);
}

// --- chance that a link can repeat

/** Numbers in [0, 1) that depend on a text alone (FNV-1a, then mulberry32). */
function generator(text) {
  let state = 2166136261;
  for (const character of text) state = Math.imul(state ^ character.codePointAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(values, seed) {
  const mixed = [...values], next = generator(seed);
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}

const newSeed = () => Math.random().toString(36).slice(2, 8) || "a";

// --- the tissues

function homeView(wanted = "") {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const text = c => [c.name, c.slug, ...c.aliases, ...c.lookFor].join(" ").toLowerCase();
  const found = classes.map((c, label) => ({c, label})).filter(({c}) => words.every(word => text(c).includes(word)));
  const cards = found.map(({c, label}) => {
    const own = of(label).filter(i => confirmed(images[i])).slice(0, 4);
    const shown = own.length
      ? el("span", {class: "four"}, ...own.map(i => picture(images[i], "")))
      : el("span", {class: "empty"}, of(label).length ? "Only disputed images." : "No image was accepted.");
    return el("li", {}, link(tissueHash(c), shown, {class: "card"}));
  });
  cards.forEach((card, i) => card.firstChild.append(el("b", {}, found[i].c.name)));
  const parts = [el("h1", {}, words.length ? `Tissues found: ${found.length}` : "Learn the tissues, then test yourself")];
  if (!words.length) {
    parts.push(el("p", {}, `${counted(images.length, "image")} of ${classes.length} classes, drawn by a model. `
      + (hasJudge ? "One classifier, the gate, accepted each; another one, the judge, looked at them again."
        : "A classifier, the gate, accepted each. There is no judge in this set: no second classifier has confirmed them.")));
    parts.push(el("div", {class: "buttons"}, link("test", "Start a self-test", {class: "button main"}), link("about", "What these images can teach", {class: "button"})));
  }
  parts.push(found.length ? el("ul", {class: "cards"}, ...cards) : el("p", {}, "No tissue has these words in its name or description."));
  if (!words.length) parts.push(...confusedParts(mostConfused(), "The two that are most often confused"));
  return parts;
}

const total = (counts, a, b) => counts ? counts[a][b] + counts[b][a] : 0;

/** The pair of classes that judge and gate confuse most. */
function mostConfused() {
  const weight = a => [total(atlas.judgeCounts, a, atlas.lookalike[a]), total(atlas.gateCounts, a, atlas.lookalike[a])];
  const [first] = classes.map((_, a) => a).sort((a, b) => weight(b)[0] - weight(a)[0] || weight(b)[1] - weight(a)[1]);
  return [first, atlas.lookalike[first]];
}

/** Two classes side by side, with how often they were confused. */
function confusedParts([a, b], title) {
  const sum = row => row.reduce((x, y) => x + y, 0);
  const said = (counts, who, what, from, to) => `the ${who} took ${counts[from][to]} of ${sum(counts[from])} ${what} of ${classes[from].name} for ${classes[to].name}`;
  const lines = [[atlas.judgeCounts, "judge", "accepted images"], [atlas.gateCounts, "gate", "first attempts"]]
    .filter(([counts]) => counts).map(([counts, who, what]) => {
      const text = `${said(counts, who, what, a, b)}; ${said(counts, who, what, b, a)}.`;
      return el("li", {}, text[0].toUpperCase() + text.slice(1));
    });
  const half = label => el("div", {}, el("h3", {}, link(tissueHash(classes[label]), classes[label].name)),
    ...(of(label).length ? [el("ul", {class: "images"}, ...of(label).filter(i => confirmed(images[i])).slice(0, 6).map(tile))] : [el("p", {class: "empty"}, "No image was accepted.")]));
  return [el("h2", {}, title), el("div", {class: "beside"}, half(a), half(b)), el("ul", {class: "note"}, ...lines)];
}

function tissueView(slug) {
  const label = classes.findIndex(c => c.slug === slug);
  if (label < 0) return [el("h1", {}, "There is no such tissue here"), link("", "All tissues")];
  const c = classes[label], own = of(label).filter(i => confirmed(images[i])), rest = of(label).length - own.length;
  const parts = [el("h1", {}, c.name)];
  if (c.lookFor.length) {
    parts.push(el("h2", {}, "What to look for"), el("ul", {id: "look-for"}, ...c.lookFor.map(point => el("li", {}, point))),
      el("p", {class: "unreviewed"}, c.byUser ? "Text by the maker of this atlas; not reviewed by the authors of pathsynth." : "Not reviewed by a pathologist."));
    if (c.sources.length) parts.push(el("p", {class: "note"}, `Check it against: ${c.sources.join("; ")}.`));
    parts.push(el("p", {class: "note"}, `The text is about real tissue under a microscope, and not all of it is to be seen here. ${atlas.scale.join(" ")}`));
  }
  parts.push(el("h2", {}, hasJudge ? "Images that gate and judge confirm" : "Images that the gate accepted"));
  parts.push(own.length ? el("ul", {class: "images", id: "images"}, ...own.map(tile)) : el("p", {class: "empty"}, "There is no such image of this class."));
  if (!hasJudge) parts.push(el("p", {class: "note"}, "This set has no judge: no second classifier has confirmed the images."));
  if (rest) parts.push(el("p", {class: "note"}, `${counted(rest, "image")} on which gate and judge disagree ${rest === 1 ? "is" : "are"} left out; see the `, link("disputed", "disputed images"), "."));
  parts.push(...confusedParts([label, atlas.lookalike[label]], `Most often confused with: ${classes[atlas.lookalike[label]].name}`));
  const step = by => classes[(label + by + classes.length) % classes.length];
  parts.push(el("p", {class: "path"}, link(tissueHash(step(-1)), `← ${step(-1).name}`), link(tissueHash(step(1)), `${step(1).name} →`)));
  return parts;
}

function aboutView() {
  return [
    el("h1", {}, "What these images can and cannot teach"),
    ...atlas.scale.map(sentence => el("p", {}, sentence)),
    el("p", {}, "They show what a model learnt to draw, and are simpler and more alike than real tissue. Nothing here is for diagnosis."),
    el("h2", {}, "Who checked them"),
    el("p", {}, "The gate, a classifier, accepts or rejects each image as it is drawn. " + (hasJudge
      ? "The judge, another classifier trained on other images, never gates; what it takes for another class is shown as disputed only. Both err, and both may err alike."
      : "This set has no judge, so nothing but the gate has looked at them.") + " No pathologist has checked them."),
    el("h2", {}, "What gate and judge answered"),
    el("p", {class: "note"}, "Rows: what was requested; columns: what was answered, by the number of the row."),
    el("div", {class: "matrices"}, matrix(atlas.gateCounts, "Gate, first attempts (before filtering)"),
      ...(hasJudge ? [matrix(atlas.judgeCounts, "Judge, accepted images (after filtering)")] : [])),
    el("h2", {}, "Your answers"), keptNote(),
    el("div", {class: "buttons"}, el("button", {class: "button", type: "button", id: "forget", onclick: forget}, "Forget all my answers")),
  ];
}

function forget() {
  if (!confirm("Forget all answers in this browser?")) return;
  progress = {rounds: {}, counts: classes.map(() => classes.map(() => 0)), cards: {}};
  save();
  draw();
}

// --- the self-test

/** The round whose last answer still has its feedback on the screen.
 * @type {Round|null} */
let explained = null;

/** The round of an address, begun if it is new. */
function round(name, choose) {
  const stored = progress.rounds[name];
  if (stored && stored.images.every(i => images[i])) return stored;
  return progress.rounds[name] = {images: choose(), answers: []};
}

/** @param {"test"|"disputed"|"review"} kind */
function testView(kind, seed) {
  const from = kind === "disputed" ? disputed : agreed;
  const own = round(`${kind}=${seed}`, () => kind === "review" ? dueImages() : shuffled(from, seed).slice(0, ROUND));
  if (!own.images.length) return [el("h1", {}, titleOf(kind)), el("p", {id: "nothing"}, {
    disputed: hasJudge ? "Gate and judge agree on every image of this set." : "This set has no judge, so no image is disputed.",
    review: "Nothing is due now. Come back later, or take a new self-test.",
    test: "No image of this set is confirmed, so there is nothing to ask.",
  }[kind]), link("test", "New self-test", {class: "button"})];
  const answered = own.answers.length, at = explained === own ? answered - 1 : answered;
  return at >= own.images.length ? resultView(kind, own) : questionView(kind, own, at, at < answered);
}

const titleOf = kind => ({test: "Self-test", disputed: "Disputed images", review: "Review"})[kind];

function dots(own) {
  return el("ol", {class: "dots", "aria-hidden": "true"}, ...own.images.map((i, n) => el("li", {
    class: n < own.answers.length ? (own.answers[n] === images[i].label ? "right" : "wrong") : n === own.answers.length ? "now" : ""})));
}

function questionView(kind, own, at, isAnswered) {
  const image = images[own.images[at]], answer = own.answers[at];
  const choose = label => { note(own, label); explained = own; draw(); document.getElementById("next")?.focus(); };
  const buttons = classes.map((c, label) => el("button", {
    type: "button", disabled: isAnswered, "data-label": label, onclick: () => choose(label),
    class: `answer${isAnswered && label === image.label ? " right" : isAnswered && label === answer ? " wrong" : ""}`,
  }, label < 9 ? el("kbd", {}, String(label + 1)) : null, c.name));
  const parts = [el("h1", {}, `${titleOf(kind)}: image ${at + 1} of ${own.images.length}`), dots(own)];
  if (kind === "disputed") parts.push(el("p", {class: "unreviewed"}, "Gate and judge disagree on these images. There is no agreed answer; nothing here counts for your score."));
  const side = el("div", {}, el("div", {class: "answers", role: "group", "aria-label": "Which tissue is it?"}, ...buttons));
  if (isAnswered) side.append(feedback(kind, own, at));
  parts.push(el("div", {class: "question"}, picture(image, `image ${at + 1} of ${own.images.length}`), side));
  if (!isAnswered) parts.push(el("p", {class: "note"}, classes.length > 9 ? "Keys 1 to 9 answer with the first nine; the others by their buttons." : `Keys 1 to ${classes.length} answer, too.`));
  return parts;
}

/** What was right, beside the image of the other class that is most like the one asked about. */
function feedback(kind, own, at) {
  const image = images[own.images[at]], answer = own.answers[at], isRight = answer === image.label, asked = classes[image.label];
  const other = isRight ? atlas.lookalike[image.label] : answer, like = image.near[other] ?? Object.values(image.near)[0];
  const verdict = kind === "disputed"
    ? `Drawn as ${asked.name}. The gate says ${classes[best(image.gate)].name}, the judge ${classes[best(image.judge)].name}; you say ${classes[answer].name}.`
    : isRight ? `Right: ${asked.name}.` : `Not ${classes[answer].name}: this was drawn as ${asked.name}.`;
  const parts = [el("p", {class: `verdict ${kind === "disputed" ? "" : isRight ? "right" : "wrong"}`, id: "verdict"}, verdict)];
  if (like !== undefined) {
    const name = classes[images[like].label].name;
    parts.push(el("div", {class: "pair"}, el("figure", {}, picture(image, asked.name), el("figcaption", {}, asked.name)),
      el("figure", {id: "lookalike"}, picture(images[like], name), el("figcaption", {}, `nearest look-alike: ${name}`))));
  }
  if (asked.lookFor.length && kind !== "disputed") parts.push(el("p", {}, `Look for: ${asked.lookFor[0]}`));
  const isLast = at + 1 === own.images.length;
  parts.push(el("button", {class: "button main", type: "button", id: "next", onclick: () => { explained = null; draw(); }}, isLast ? "Result (Enter)" : "Next image (Enter)"));
  return el("div", {class: "feedback", "aria-live": "polite"}, ...parts);
}

function resultView(kind, own) {
  const right = own.images.filter((i, n) => images[i].label === own.answers[n]).length;
  const parts = [el("h1", {}, `${titleOf(kind)}: result`), dots(own)];
  if (kind === "disputed") {
    const like = scorer => own.images.filter((i, n) => best(images[i][scorer]) === own.answers[n]).length;
    parts.push(el("p", {id: "score"}, `You said what the gate says for ${like("gate")} of ${own.images.length}, what the judge says for ${like("judge")}. This counts for no score.`));
  } else {
    parts.push(el("p", {class: "score", id: "score"}, `${right} of ${own.images.length}`));
    parts.push(el("p", {}, "“Right” means: the class that gate" + (hasJudge ? " and judge" : "") + " confirmed. They can be wrong."));
  }
  const again = {test: "test", disputed: "disputed", review: "review"}[kind];
  parts.push(el("div", {class: "buttons"}, link(again, kind === "review" ? "More review" : "New test", {class: "button main"}),
    ...(kind === "test" && hasJudge && disputed.length ? [link("disputed", "Disputed images", {class: "button"})] : []), link("review", "Review what is due", {class: "button"})));
  if (kind === "test") parts.push(el("p", {class: "note"}, "The address of this page gives others the same ten images."));
  const list = own.images.map((i, n) => el("li", {}, el("button", {class: "tile", type: "button", onclick: () => enlarge(i)}, picture(images[i], `image ${n + 1}`),
    el("p", {class: "marks"}, classes[images[i].label].name, ...(own.answers[n] === images[i].label ? [] : [el("br"), `you: ${classes[own.answers[n]].name}`])))));
  parts.push(el("ul", {class: "images"}, ...list));
  parts.push(el("h2", {}, hasJudge ? "All your answers, beside the judge’s" : "All your answers"),
    el("p", {class: "note"}, "Rows: what the image was drawn as; columns: what was answered, by the number of the row." + (hasJudge ? "" : " This set has no judge.")),
    el("div", {class: "matrices"}, el("div", {id: "own-matrix"}, matrix(progress.counts, "You")), ...(hasJudge ? [matrix(atlas.judgeCounts, "The judge, on all accepted images")] : [])), keptNote());
  return parts;
}

// --- addresses and keys

/** The name and value after "#"; a value that cannot be decoded is taken as it is. */
function route() {
  const [, name, value] = location.hash.match(/^#([^=]*)=?(.*)$/s) ?? [null, "", ""];
  try {
    return {name, value: decodeURIComponent(value)};
  } catch {
    return {name, value};
  }
}

function draw() {
  const {name, value} = route(), main = document.getElementById("main");
  if (["test", "disputed"].includes(name) && !value) return location.replace(`#${name}=${newSeed()}`);
  if (name === "review" && !value) return location.replace(`#review=${newSeed()}`);
  const view = {tissue: () => tissueView(value), about: aboutView, search: () => homeView(value), test: () => testView("test", value),
    disputed: () => testView("disputed", value), review: () => testView("review", value)}[name] ?? (() => homeView());
  main.replaceChildren(...view());
  const search = document.getElementById("search");
  if (document.activeElement !== search) search.value = name === "search" ? value : "";
  const current = {test: "test", disputed: "test", review: "review", about: "about"}[name] ?? "home";
  for (const a of document.querySelectorAll("nav a")) a.dataset.view === current ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current");
  document.title = `${main.querySelector("h1").textContent} · ${atlas.title}`;
  document.documentElement.dataset.ready = "yes";
}

document.documentElement.style.setProperty("--ratio", `${atlas.size[0]} / ${atlas.size[1]}`);
document.getElementById("skip").addEventListener("click", event => { event.preventDefault(); document.getElementById("main").focus(); });
document.getElementById("search").addEventListener("input", event => {
  history.replaceState(null, "", `#search=${encodeURIComponent(event.target.value)}`);
  draw();
});
window.addEventListener("hashchange", () => { explained = null; document.getElementById("enlarged").close(); draw(); scrollTo(0, 0); });
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement || document.getElementById("enlarged").open) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search").focus();
  } else if (/^[1-9]$/.test(event.key)) {
    document.querySelector(`button.answer[data-label="${Number(event.key) - 1}"]:enabled`)?.click();
  } else if (event.key === "Enter" && event.target === document.body) {
    document.getElementById("next")?.click();
  }
});
draw();
