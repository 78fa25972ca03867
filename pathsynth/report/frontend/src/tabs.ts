// The tabs below the leaderboard, each about the configurations that are ticked in it.
import type {App} from "./app";
import {images} from "./images";
import {settings} from "./settings";
import {training} from "./training";
import {classes} from "./classes";
import {cost} from "./cost";
import {compare} from "./compare";
import type {Tab} from "./view";

export const DRAWN: Record<Tab, {name: string; draw: (app: App) => Node[]}> = {
  images: {name: "Images", draw: images},
  settings: {name: "Settings", draw: settings},
  training: {name: "Training", draw: training},
  classes: {name: "Classes", draw: classes},
  cost: {name: "Cost", draw: cost},
  compare: {name: "Compare", draw: compare},
};
