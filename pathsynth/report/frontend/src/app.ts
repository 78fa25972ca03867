// What all parts of the page share: the study, what is shown, and how one asks for something else to be shown.
import type {Attempt, Configuration, Measure, Study, Trial} from "./data";
import {slotKey} from "./data";
import {h} from "./dom";
import {MOST_CHOSEN, type View} from "./view";
import {parse, type Query} from "./query";

export type App = {
  study: Study;
  view: View;
  change: (patch: Partial<View>, typing?: boolean) => void;
  say: (text: string) => void;
};

export const byIdOf = (app: App, id: string): Configuration | undefined => app.study.configurations.find(c => c.id === id);

/** The number of the measure that configurations are ranked by on the page. */
export function measureIndex(app: App): number {
  const {measures, main} = app.study;
  const asked = measures.findIndex(m => m.alias === app.view.measure);
  return asked >= 0
    ? asked
    : Math.max(
        0,
        measures.findIndex(m => m.key === main),
      );
}
export const measureOf = (app: App): Measure | undefined => app.study.measures[measureIndex(app)];

export function baseline(app: App): Configuration | undefined {
  return byIdOf(app, app.view.base) ?? app.study.configurations.find(c => c.ranked);
}

/** The configurations of the tabs: those that were ticked, else the best two and the last that has a score. */
export function chosen(app: App): Configuration[] {
  if (app.view.chosen) return app.view.chosen.map(id => byIdOf(app, id)).filter((c): c is Configuration => c !== undefined);
  const ranked = app.study.configurations.filter(c => c.ranked),
    last = ranked.at(-1);
  return [...new Set([...ranked.slice(0, 2), ...(last ? [last] : [])])];
}

export function toggleChosen(app: App, c: Configuration): void {
  const ids = chosen(app).map(x => x.id),
    there = ids.includes(c.id);
  if (!there && ids.length >= MOST_CHOSEN) {
    app.say(`At most ${MOST_CHOSEN} configurations are compared; untick one first.`);
    return;
  }
  app.change({chosen: there ? ids.filter(id => id !== c.id) : [...ids, c.id]});
}

/** The number of the colour of a configuration that is shown in the tabs; null for the others. */
export function colourOf(app: App, c: Configuration): number | null {
  const place = chosen(app).indexOf(c);
  return place < 0 ? null : place;
}

export const swatch = (app: App, c: Configuration): HTMLElement =>
  h("span", {class: `swatch c${colourOf(app, c) ?? "x"}`, "aria-hidden": "true"});

export const query = (app: App): Query => parse(app.study, app.view.query);

/** The trial whose images are shown of a configuration: of the seed that was requested, else of the first that has images. */
export function pictured(app: App, c: Configuration): Trial | undefined {
  const all = c.trials.filter(t => t.sprite),
    seed = app.view.seed || commonSeed(app);
  return all.find(t => t.seed === seed) ?? all[0];
}

/** The first seed that most configurations have images of. */
export function commonSeed(app: App): string {
  const count = (seed: string) => app.study.configurations.filter(c => c.trials.some(t => t.sprite && t.seed === seed)).length;
  return app.study.seeds.reduce((best, seed) => (count(seed) > count(best) ? seed : best), app.study.seeds[0] ?? "");
}

/** The attempt of a slot that is shown where there is room for one: the first, or the one that ended the search. */
export function attemptShown(app: App, t: Trial, cls: number, slot: number): Attempt | undefined {
  const all = t.attempts().get(slotKey(cls, slot)) ?? [];
  if (app.view.kind === "first") return all.find(a => a.attempt === 0);
  return all.find(a => a.accepted) ?? all.at(-1);
}

export function className(study: Study, cls: number | null): string {
  return cls === null ? "unknown" : (study.classes[cls]?.[1] ?? `class ${cls}`);
}

/** The words of a class's slug, for where its full name has no room. */
export const shortClass = (study: Study, cls: number): string => (study.classes[cls]?.[0] ?? `class ${cls}`).replaceAll("-", " ");

export function verdictOf(study: Study, a: Attempt): string {
  if (a.accepted) return "accepted";
  const seen = a.seen !== null && a.seen !== a.class ? `looks like ${className(study, a.seen)}` : "";
  return `rejected${a.reason || seen ? ": " : ""}${[a.reason, seen].filter(Boolean).join("; ")}`;
}
