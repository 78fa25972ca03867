import {className, pictured, shortClass, verdictOf, type App} from "./app";
import {slotKey, type Attempt, type Configuration, type Sprite, type Trial} from "./data";
import {h} from "./dom";

export function paint(node: HTMLElement, sprite: Sprite, place: number, side: number): void {
  const {columns} = sprite;
  node.style.cssText =
    `width:${side}px;height:${side}px;background-image:url("${sprite.url.replace(/["()\\\s]/g, "")}");` +
    `background-size:${columns * side}px auto;background-position:${-(place % columns) * side}px ${-Math.floor(place / columns) * side}px`;
}

/** What the judge says of an attempt; empty where that is not known. */
const judgeOf = (app: App, a: Attempt): string =>
  a.judged === null ? "" : a.judged === a.class ? "names the requested class" : `names ${className(app.study, a.judged)}`;

const describe = (app: App, t: Trial, a: Attempt): string =>
  [
    `${className(app.study, a.class)}, slot ${a.slot + 1}, attempt ${a.attempt + 1}, ${verdictOf(app.study, a)}`,
    judgeOf(app, a) && `the judge ${judgeOf(app, a)}`,
    `${t.configuration.name}, seed ${t.seed}`,
  ]
    .filter(Boolean)
    .join("; ");

/** The frame shows the gate's answer, the dot in the corner the judge's: filled for the requested class, a ring for another. */
const frameOf = (a: Attempt): string =>
  `tile ${a.accepted ? "ok" : "no"}${a.judged === null ? "" : a.judged === a.class ? " confirmed" : " doubted"}`;

/** An image of an attempt, as a button that enlarges it. A rejected one has a dashed frame and a cut corner. */
export function tile(app: App, t: Trial, a: Attempt, side: number, key: string): HTMLElement {
  const frame = frameOf(a);
  if (!t.sprite || a.place === null) {
    const words = h(
      "span",
      {class: `${frame} bare`, title: describe(app, t, a)},
      a.accepted ? "accepted, no image kept" : "rejected, no image kept",
    );
    words.style.cssText = `width:${side}px;height:${side}px`;
    return words;
  }
  const label = describe(app, t, a);
  const node = h("button", {
    type: "button",
    class: frame,
    title: label,
    "aria-label": label,
    "data-k": `${key}/${t.index}/${a.class}/${a.slot}/${a.attempt}`,
    "data-slot": a.slot,
    "data-class": a.class,
    "data-attempt": a.attempt,
    click: () => enlarge(app, t, a.class, a.slot),
  });
  paint(node, t.sprite, a.place, side);
  return node;
}

export function gap(side: number, why = "no image"): HTMLElement {
  const node = h("span", {class: "gap", title: why, "aria-label": why, role: "img"}, "–");
  node.style.cssText = `width:${side}px;height:${side}px`;
  return node;
}

/** The small picture of a row of the leaderboard: many of them, so none is a stop of the keyboard. */
export function thumb(app: App, t: Trial, a: Attempt | undefined, side: number): HTMLElement {
  if (!a || !t.sprite || a.place === null) return gap(side, a ? `${describe(app, t, a)}; its image was not kept` : "no image");
  const node = h("span", {
    class: frameOf(a),
    role: "img",
    title: describe(app, t, a),
    "aria-label": describe(app, t, a),
    "data-class": a.class,
    "data-slot": a.slot,
    click: () => enlarge(app, t, a.class, a.slot),
  });
  paint(node, t.sprite, a.place, side);
  return node;
}

/** The dialog with all attempts of a slot; arrows go to the next slot and configuration, space flips through configurations. */
export function enlarge(app: App, t: Trial, cls: number, slot: number): void {
  const dialog = document.getElementById("enlarged") as HTMLDialogElement,
    inside = dialog.querySelector("div") as HTMLElement;
  const {study} = app;
  const order = study.configurations.map(c => pictured(app, c)).filter((x): x is Trial => x !== undefined);
  const slots = [...t.attempts().keys()].sort((a, b) => {
    const [c, s] = a.split("/").map(Number),
      [d, r] = b.split("/").map(Number);
    return (c ?? 0) - (d ?? 0) || (s ?? 0) - (r ?? 0);
  });
  let trial = t,
    key = slotKey(cls, slot);
  const draw = () => {
    const all = trial.attempts().get(key) ?? [],
      [c = 0, s = 0] = key.split("/").map(Number);
    const figures = all.map(a => {
      const large = h("div", {
        class: `${frameOf(a)} large`,
        role: "img",
        "aria-label": describe(app, trial, a),
      });
      if (trial.sprite && a.place !== null) paint(large, trial.sprite, a.place, Math.min(224, innerWidth - 90));
      else large.append("no image of this attempt was kept");
      const facts: [string, string][] = [
        ["gate", verdictOf(study, a)],
        ["judge", judgeOf(app, a)],
        ["probability of the class", a.probability === null ? "not known" : a.probability.toFixed(3)],
        ["prompt", a.prompt],
        ["seed of the image", a.seed],
      ];
      return h(
        "figure",
        {},
        h("figcaption", {}, `Attempt ${a.attempt + 1}: ${a.accepted ? "accepted" : "rejected"}`),
        large,
        h("dl", {}, ...facts.filter(([, v]) => v).flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])),
      );
    });
    const place = trial.real.get(key);
    if (place !== undefined && trial.sprite) {
      const large = h("div", {class: "tile large", role: "img", "aria-label": `a real image of ${className(study, c)}`});
      paint(large, trial.sprite, place, Math.min(224, innerWidth - 90));
      figures.push(h("figure", {}, h("figcaption", {}, "A real image of the class"), large));
    }
    inside.replaceChildren(
      h("h3", {id: "enlarged-title"}, `${className(study, c)}, slot ${s + 1}`),
      h("p", {class: "quiet"}, `${trial.configuration.name}, seed ${trial.seed}`),
      h("div", {class: "figures"}, ...figures),
      h("p", {class: "quiet"}, "← → other slots · ↑ ↓ or space: the same slot in other configurations · Esc closes"),
    );
  };
  const step = <T>(list: readonly T[], at: T, by: number): T => list[(list.indexOf(at) + by + list.length) % list.length] ?? at;
  dialog.onkeydown = event => {
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, " ": 1}[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") key = step(slots, key, by);
    else trial = step(order, order.includes(trial) ? trial : (order[0] ?? trial), by);
    draw();
  };
  draw();
  dialog.showModal();
}

export function realTile(app: App, t: Trial, cls: number, slot: number, side: number): HTMLElement {
  const place = t.real.get(slotKey(cls, slot));
  if (place === undefined || !t.sprite) return gap(side);
  const node = h("span", {class: "tile", role: "img", "aria-label": `a real image of ${className(app.study, cls)}`});
  paint(node, t.sprite, place, side);
  return node;
}

export type SlotOf = {cls: number; slot: number; head: string; short: string};

/** The columns of images: the first slot of each class, or the slots of one class; the same in every row. */
export function columnsOf(app: App, most: number): SlotOf[] {
  const {study, view} = app,
    cls = study.classes.findIndex(([slug]) => slug === view.cls);
  if (cls >= 0 && study.pictured.includes(cls))
    return Array.from({length: Math.min(most, study.slots)}, (_, slot) => ({
      cls,
      slot,
      head: `slot ${slot + 1}`,
      short: `slot ${slot + 1}`,
    }));
  return study.pictured.slice(0, most).map(c => ({cls: c, slot: 0, head: className(study, c), short: shortClass(study, c)}));
}

export const hasImages = (c: Configuration): boolean => c.trials.some(t => t.sprite);
