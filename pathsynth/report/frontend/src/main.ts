import {chosen, commonSeed, measureIndex, query, shortClass, swatch, toggleChosen, type App} from "./app";
import {csv, drawBoard, USUAL} from "./board";
import {study as read, type Payload, type Study} from "./data";
import {byId, copy, copyable, h} from "./dom";
import {drawRunning} from "./filmstrip";
import {DRAWN, openTab, tabsOf} from "./tabs";
import {PLAIN, read as readView, write, type Tab, type View} from "./view";

const study: Study = read(JSON.parse(byId("study").textContent ?? "") as Payload);
const hasPictures = study.trials.some(t => t.sprite);
if (!hasPictures && study.scored.length) PLAIN.tab = "classes"; // as in a study of classifiers
let view: View = readView(location.hash);
let written = location.hash.replace(/^#/, "");

const app: App = {
  study,
  get view() {
    return view;
  },
  change,
  say: text => {
    byId("said").textContent = text;
  },
};

function change(patch: Partial<View>, typing = false): void {
  view = {...view, ...patch};
  written = write(view);
  if (typing) history.replaceState(null, "", `#${written}`);
  else if (location.hash.replace(/^#/, "") !== written) location.hash = written;
  draw();
}

addEventListener("hashchange", () => {
  const hash = location.hash.replace(/^#/, "");
  if (hash === written) return;
  written = hash;
  view = readView(hash);
  draw();
});

const STATES: readonly string[] = ["done", "running", "waiting", "failed", "unreadable", "interrupted", "pruned", "missing"];

function drawTools(): void {
  const box = byId("query") as HTMLInputElement,
    asked = query(app);
  if (box.value !== view.query) box.value = view.query;
  byId("problem").textContent = asked.problem;
  box.setAttribute("aria-invalid", String(asked.problem !== ""));
  (byId("measure") as HTMLSelectElement).value = study.measures[measureIndex(app)]?.alias ?? "";
  (byId("seed") as HTMLSelectElement).value = view.seed || commonSeed(app);
  (byId("class") as HTMLSelectElement).value = view.cls;
  (byId("attempt") as HTMLSelectElement).value = view.kind;
  (byId("every") as HTMLInputElement).checked = view.every;
  for (const box of byId("columns").querySelectorAll<HTMLInputElement>("input"))
    box.checked = (box.dataset["usual"] === "1") !== view.hidden.includes(box.value);
  byId("chosen").replaceChildren(
    ...chosen(app).map(c =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          "data-c": c.index,
          "data-k": `chip/${c.id}`,
          "aria-label": `remove ${c.name} from the tabs`,
          title: "remove",
          click: () => toggleChosen(app, c),
        },
        swatch(app, c),
        c.name,
        h("span", {"aria-hidden": "true"}, " ×"),
      ),
    ),
  );
}

function drawTabs(): void {
  const bar = byId("tabs"),
    open = openTab(app);
  bar.replaceChildren(
    ...tabsOf(app).map(tab =>
      h(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${tab}`,
          "aria-selected": String(tab === open),
          "aria-controls": "panel",
          tabindex: tab === open ? 0 : -1,
          "data-k": `tab/${tab}`,
          click: () => change({tab}),
        },
        DRAWN[tab].name,
      ),
    ),
  );
  const panel = byId("panel");
  panel.setAttribute("aria-labelledby", `tab-${open}`);
  panel.replaceChildren(...DRAWN[open].draw(app));
}

function draw(): void {
  const active = (document.activeElement as HTMLElement | null)?.dataset["k"],
    low = byId("panel").offsetHeight;
  byId("panel").style.minHeight = `${low}px`; // the page must not jump while the panel is empty
  drawTools();
  drawRunning(app);
  drawBoard(app);
  drawTabs();
  byId("panel").style.minHeight = "";
  if (active) document.querySelector<HTMLElement>(`[data-k="${CSS.escape(active)}"]`)?.focus({preventScroll: true});
}

function prepare(): void {
  const {verdict} = study,
    box = byId("query") as HTMLInputElement;
  const chip = byId("verdict");
  chip.classList.add(verdict.sure === null ? "unknown" : verdict.sure ? "sure" : "unsure");
  const lacking =
    verdict.sure === null
      ? "The scatter of trials is not known yet. These commands run more seeds of the leader and the runner-up, which show it:"
      : "These commands run the missing seeds of the leader and the runner-up:";
  const enough = verdict.sure
    ? "Nothing more is needed: the lead is beyond noise."
    : "No affordable number of seeds would settle it; ask whether the difference matters.";
  byId("why").append(
    ...(verdict.weakness ? [h("p", {id: "weakness"}, verdict.weakness)] : []),
    h(
      "div",
      {id: "settle"},
      h("h3", {}, "What would settle it"),
      h("p", {}, verdict.settle.length ? lacking : enough),
      ...verdict.settle.map(c => copyable(c, "the command")),
    ),
  );
  byId("facts").textContent = study.facts.join(" · ");
  const counts = STATES.map(s => [s, study.trials.filter(t => t.state === s).length] as const).filter(([, n]) => n);
  byId("states").append(
    ...counts.map(([s, n]) =>
      h(
        "button",
        {
          type: "button",
          class: `pill ${s}`,
          title: `show the configurations with a trial that is ${s}`,
          click: () => change({query: `state:${s}`}),
        },
        `${n} ${s}`,
      ),
    ),
  );
  const unfinished = study.trials.filter(t => (t.state === "done" ? t.problem : !["running", "waiting"].includes(t.state)));
  const conflicts = unfinished.some(t => t.state === "done");
  if (unfinished.length)
    byId("unfinished").append(
      h("summary", {}, `${unfinished.length} trial${unfinished.length > 1 ? "s" : ""} that did not finish${conflicts ? " or whose results conflict" : ""}, and why`),
      h(
        "ul",
        {},
        ...unfinished.map(t =>
          h(
            "li",
            {},
            h("b", {}, t.state === "done" ? "conflict" : t.state),
            ` ${t.configuration.name}, seed ${t.seed || "unknown"}: ${t.problem || "no reason was written"}`,
          ),
        ),
      ),
    );
  byId("unfinished").hidden = !unfinished.length;
  box.addEventListener("input", () => change({query: box.value}, true));
  const select = (id: string, options: [string, string][], set: (value: string) => void) => {
    const made = byId(id) as HTMLSelectElement;
    made.append(...options.map(([v, text]) => h("option", {value: v}, text)));
    made.addEventListener("change", () => set(made.value));
  };
  select(
    "measure",
    study.measures.map(m => [m.alias, m.name]),
    measure => change({measure, sort: "", down: false}),
  );
  select(
    "seed",
    study.seeds.map(s => [s, s || "unknown"]),
    seed => change({seed}),
  );
  select(
    "class",
    [
      ["", "one of each class"],
      ...study.pictured.map((i): [string, string] => [study.classes[i]?.[0] ?? "", shortClass(study, i)]),
    ],
    cls => change({cls}),
  );
  select(
    "attempt",
    [
      ["first", "first attempts"],
      ["last", "accepted, or else last attempts"],
    ],
    kind => change({kind: kind === "last" ? "last" : "first"}),
  );
  byId("every").addEventListener("change", () => change({every: (byId("every") as HTMLInputElement).checked}));
  byId("columns").append(
    ...study.measures.map(m =>
      h(
        "label",
        {title: m.help},
        h("input", {
          type: "checkbox",
          value: m.alias,
          "data-usual": USUAL.includes(m.alias) ? "1" : "0",
          change: () =>
            change({hidden: view.hidden.includes(m.alias) ? view.hidden.filter(x => x !== m.alias) : [...view.hidden, m.alias]}),
        }),
        ` ${m.name}`,
      ),
    ),
  );
  byId("glossary").append(...study.measures.flatMap(m => [h("dt", {}, `${m.name} (${m.alias})`), h("dd", {}, m.help)]));
  byId("link").addEventListener("click", () => void copy(location.href, byId("link")));
  byId("csv").addEventListener("click", () => {
    const a = h("a", {href: URL.createObjectURL(new Blob([csv(app)], {type: "text/csv"})), download: "configurations.csv"});
    a.click();
  });
  byId("reset").addEventListener("click", () => change({...PLAIN}));
  document.documentElement.dataset["images"] = hasPictures ? "yes" : "no";
}

function keys(): void {
  byId("tabs").addEventListener("keydown", event => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key],
      all = tabsOf(app),
      at = all.indexOf(openTab(app));
    const to: Tab | undefined =
      by === undefined ? {Home: all[0], End: all.at(-1)}[event.key] : all[(at + by + all.length) % all.length];
    if (!to) return;
    event.preventDefault();
    change({tab: to});
    byId(`tab-${to}`).focus();
  });
  byId("board").addEventListener("keydown", event => {
    const by = {ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling"}[event.key] as
      "previousElementSibling" | "nextElementSibling" | undefined;
    const from = event.target as HTMLElement,
      kind = from.dataset["k"]?.split("/")[0],
      row = from.closest("tbody tr");
    if (!by || !kind || !row) return;
    event.preventDefault();
    for (let next = row[by]; next; next = next[by]) {
      const to = next.querySelector<HTMLElement>(`[data-k^="${kind}/"]`);
      if (to) {
        to.focus();
        to.scrollIntoView({block: "nearest"});
        return;
      }
    }
  });
  addEventListener("keydown", event => {
    if (event.key !== "/" || /INPUT|SELECT|TEXTAREA/.test((event.target as Element).tagName)) return;
    event.preventDefault();
    byId("query").focus();
  });
}

/** What belongs to the configuration under the pointer, or that has the focus, stands out wherever it is drawn. */
function highlights(): void {
  let lit = "";
  const light = (event: Event) => {
    const at = (event.target as Element | null)?.closest?.("[data-c]")?.getAttribute("data-c") ?? "";
    if (at === lit) return;
    lit = at;
    for (const node of document.querySelectorAll(".lit")) node.classList.remove("lit");
    document.documentElement.classList.toggle("pointing", at !== "");
    if (at) for (const node of document.querySelectorAll(`[data-c="${CSS.escape(at)}"]`)) node.classList.add("lit");
  };
  for (const name of ["mouseover", "focusin"]) document.addEventListener(name, light);
  document.addEventListener("mouseleave", light);
}

/** A page that loads itself again while trials run stays where it was. */
function keepScroll(): void {
  const key = `pathsynth ${location.pathname}`,
    frame = byId("board").parentElement as HTMLElement;
  try {
    const [hash, page, board] = JSON.parse(sessionStorage.getItem(key) ?? "[]") as [string?, number?, number?];
    if (hash === location.hash) {
      scrollTo(0, page ?? 0);
      frame.scrollTop = board ?? 0;
    }
    addEventListener("pagehide", () => sessionStorage.setItem(key, JSON.stringify([location.hash, scrollY, frame.scrollTop])));
  } catch {
    /* a browser that keeps nothing for files */
  }
}

/** Loads the page again while trials run, but not under the hands of somebody who types or looks at an image. */
function refresh(): void {
  const seconds = Number(document.documentElement.dataset["refresh"] ?? 0);
  if (!seconds) return;
  const busy = () => document.activeElement === byId("query") || (byId("enlarged") as HTMLDialogElement).open;
  const reload = () => {
    if (busy()) setTimeout(reload, 1000);
    else location.reload();
  };
  setTimeout(reload, 1000 * seconds);
}

prepare();
keys();
highlights();
draw();
keepScroll();
refresh();
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) {
    width = innerWidth;
    draw();
  }
});
performance.mark("usable");
document.documentElement.dataset["ready"] = "yes";
