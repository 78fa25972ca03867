// The validation sheets of a fine-tune, step by step: of the ticked configurations below the curves, of running trials above the table.
import {commonSeed, swatch, type App} from "./app";
import {type Configuration, type Reel, type Trial} from "./data";
import {byId, h} from "./dom";
import {note, scrolling} from "./parts";

const HIGH = 170,
  SMALL = 96;

/** One sheet of a reel, `high` pixels high; what it shows is said by whoever places it. */
function sheet(reel: Reel, at: number, high: number): HTMLElement {
  const scale = high / reel.height,
    wide = reel.width * scale;
  const node = h("span", {class: "sheet", "aria-hidden": "true"});
  node.style.cssText =
    `width:${wide}px;height:${high}px;background-image:url("${reel.url.replace(/["()\\\s]/g, "")}");` +
    `background-size:${wide * reel.steps.length}px ${high}px;background-position:${-at * wide}px 0`;
  return node;
}

/** The trial whose sheets are shown of a configuration: of the seed that was requested, else of the first that has some. */
function filmed(app: App, c: Configuration): Trial | undefined {
  const all = c.trials.filter(t => t.reel),
    seed = app.view.seed || commonSeed(app);
  return all.find(t => t.seed === seed) ?? all[0];
}

/** A table with a row of sheets for each configuration, the same step in one column; empty where there is no sheet. */
export function filmstrip(app: App, list: readonly Configuration[]): Node[] {
  const rows = list.flatMap(c => {
    const t = filmed(app, c);
    return t?.reel ? [{c, t, reel: t.reel}] : [];
  });
  if (!rows.length) return [];
  const steps = [...new Set(rows.flatMap(r => r.reel.steps))].sort((a, b) => a - b);
  const cell = (t: Trial, reel: Reel, step: number) => {
    const at = reel.steps.indexOf(step);
    if (at < 0) return h("td", {}, h("span", {class: "quiet"}, "–"));
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
          click: () => show(rows.map(r => r.t), t, at),
        },
        sheet(reel, at, HIGH),
      ),
    );
  };
  const table = h(
    "table",
    {class: "images", id: "filmstrip"},
    h("thead", {}, h("tr", {}, h("td", {}), ...steps.map(s => h("th", {scope: "col"}, `step ${s}`)))),
    h(
      "tbody",
      {},
      ...rows.map(({c, t, reel}) =>
        h(
          "tr",
          {"data-c": c.index},
          h("th", {scope: "row"}, swatch(app, c), c.name, h("small", {}, `seed ${t.seed || "unknown"}`)),
          ...steps.map(s => cell(t, reel, s)),
        ),
      ),
    ),
  );
  const order = app.study.classes.map(([, name]) => name);
  return [
    h("h3", {}, "Images of the validations"),
    note(
      "First attempts of the same slots after so many training steps, a row a class" +
        (order.length && order.length <= 12 ? ` (${order.join(", ")})` : "") +
        ". Click a sheet to enlarge it; ← → change the step, ↑ ↓ the configuration.",
    ),
    scrolling("Validation sheets by training step", table),
  ];
}

/** The dialog with one sheet; arrows go to the other steps and configurations. */
function show(trials: readonly Trial[], first: Trial, from: number): void {
  const dialog = byId("enlarged") as HTMLDialogElement,
    inside = dialog.querySelector("div") as HTMLElement;
  let trial = first,
    at = from;
  const draw = () => {
    const reel = trial.reel as Reel;
    at = Math.min(at, reel.steps.length - 1);
    const high = Math.min(2 * reel.height, innerHeight * 0.68, ((innerWidth * 0.85) / reel.width) * reel.height);
    inside.replaceChildren(
      h("h3", {id: "enlarged-title"}, `Validation after step ${reel.steps[at] ?? ""}`),
      h("p", {class: "quiet"}, `${trial.configuration.name}, seed ${trial.seed || "unknown"}`),
      h("div", {class: "figures", role: "img", "aria-label": "First attempts of the validation, a row a class"}, sheet(reel, at, high)),
      h("p", {class: "quiet"}, "← → other steps · ↑ ↓ or space: the same step in other configurations · Esc closes"),
    );
  };
  dialog.onkeydown = event => {
    const steps = (trial.reel as Reel).steps,
      by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, " ": 1}[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") at = (at + by + steps.length) % steps.length;
    else {
      const step = steps[at] ?? 0;
      trial = trials[(trials.indexOf(trial) + by + trials.length) % trials.length] ?? trial;
      const same = (trial.reel as Reel).steps.indexOf(step);
      at = same < 0 ? 0 : same;
    }
    draw();
  };
  draw();
  dialog.showModal();
}

/** The trials that run now: how far each is, and its newest sheet. */
export function drawRunning(app: App): void {
  const trials = app.study.trials.filter(t => t.state === "running"),
    box = byId("running");
  box.hidden = !trials.length;
  box.replaceChildren(
    ...trials.map(t => {
      const last = (t.reel?.steps.length ?? 0) - 1,
        step = t.reel?.steps[last];
      const newest =
        t.reel && step !== undefined
          ? h(
              "button",
              {
                type: "button",
                class: "film",
                "aria-label": `newest validation sheet, after step ${step}; ${t.configuration.name}, seed ${t.seed || "unknown"}`,
                title: `newest validation, after step ${step}`,
                "data-k": `newest/${t.index}`,
                click: () => show(trials.filter(x => x.reel), t, last),
              },
              sheet(t.reel, last, SMALL),
            )
          : null;
      return h(
        "article",
        {"data-c": t.configuration.index},
        newest,
        h(
          "div",
          {},
          h("b", {}, t.configuration.name),
          ` seed ${t.seed || "unknown"}`,
          h("p", {}, t.problem || "runs"),
          step === undefined ? null : h("small", {}, `newest validation: step ${step}`),
        ),
      );
    }),
  );
}
