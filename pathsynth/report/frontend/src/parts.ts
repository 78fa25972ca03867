// What several tabs are made of.
import {colourOf, swatch, type App} from "./app";
import {type Configuration} from "./data";
import {h} from "./dom";
import {type View} from "./view";

export const MANY_CLASSES = 30;

export const legend = (app: App, list: readonly Configuration[]): HTMLElement =>
  h("p", {class: "legend"}, ...list.map(c => h("span", {"data-c": c.index}, swatch(app, c), c.name)));
export const nothing = (words: string): HTMLElement => h("p", {class: "empty"}, words);
export const colour = (app: App, c: Configuration): string => `c${colourOf(app, c) ?? "x"}`;
export const wide = (most: number): number => Math.max(300, Math.min(most, innerWidth - 44));
export const note = (text: string): HTMLElement => h("p", {class: "quiet"}, text);

export function choice<K extends keyof View>(
  app: App,
  words: string,
  key: K,
  value: string,
  options: readonly [string, string][],
): HTMLElement {
  const select = h(
    "select",
    {"data-k": `choice/${key}`, change: () => app.change({[key]: select.value} as Partial<View>)},
    ...options.map(([v, text]) => h("option", {value: v}, text)),
  );
  select.value = value;
  return h("label", {}, `${words} `, select);
}

export function scrolling(label: string, inside: Element): HTMLElement {
  return h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": label}, inside);
}
