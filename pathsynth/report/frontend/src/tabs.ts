// The tabs below the leaderboard, each about the configurations that are ticked in it.
import type {App} from "./app";
import {images} from "./images";
import {settings} from "./settings";
import {training} from "./training";
import {classes} from "./classes";
import {cost} from "./cost";
import {compare} from "./compare";
import {search} from "./search";
import {TABS, type Tab} from "./view";

export const DRAWN: Record<Tab, {name: string; draw: (app: App) => Node[]}> = {
  images: {name: "Images", draw: images},
  settings: {name: "Settings", draw: settings},
  training: {name: "Training", draw: training},
  classes: {name: "Classes", draw: classes},
  cost: {name: "Cost", draw: cost},
  compare: {name: "Compare", draw: compare},
  search: {name: "Search", draw: search},
};

/** The tabs of a study; only one that Optuna searched has a search. */
export const tabsOf = (app: App): readonly Tab[] => TABS.filter(tab => tab !== "search" || app.study.search !== null);

/** The tab that is shown. */
export const openTab = (app: App): Tab => tabsOf(app).find(tab => tab === app.view.tab) ?? "images";
