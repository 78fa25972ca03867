// The record set that the page carries, as pathsynth/report/study_view.py writes it, and the same with its parts joined.

/** Value, ends of the 95% interval (null: not known), and n (0: not counted). */
export type Score = {value: number; low: number | null; high: number | null; n: number};
type Flat = [number, (number | null)?, (number | null)?, number?];

export type Measure = {
  key: string;
  alias: string;
  short: string;
  name: string;
  help: string;
  /** 1: higher is better; -1: lower is; 0: not known. */
  better: 1 | -1 | 0;
  digits: number;
  unit: boolean;
};
export type Effect = {
  settings: string[];
  contrast: string;
  difference: {value: number; low: number | null; high: number | null};
  levels: {value: string; mean: number; trials: number}[];
  plain: boolean;
};
export type Verdict = {
  headline: string;
  details: string[];
  sure: boolean | null;
  settle: string[];
  weakness: string;
  contenders: string[];
};

export type RawConfiguration = {
  id: string;
  label: string;
  ranked: boolean;
  settings: Record<string, string>;
  scores: (Flat | 0)[];
  fits: [number | null, number | null][];
  classes: (number | null)[][];
  matrices: number[][];
};
export type RawTrial = {
  name: string;
  source: string;
  maker: string;
  link: string;
  address: string;
  configuration: number;
  seed: string;
  state: string;
  problem: string;
  command: number[];
  readings: (Flat | 0)[];
  curves: number[][];
  attempts: number[];
  real: number[];
  sprite: [string, number, number, number] | null;
  reel: [string, number, number, ...number[]] | null;
};
/** Number, state, values, reason, settings, and place of the configuration (−1: none is on the page). */
type RawPoint = [number, string, (number | null)[], string, string, number];
export type RawSearch = {
  note: string;
  objectives: [string, 1 | -1][];
  points: RawPoint[];
  importance: [string, number][];
  absent: string;
};
export type Payload = {
  title: string;
  facts: string[];
  main: string;
  measures: Measure[];
  verdict: Verdict;
  effects: Effect[];
  classes: [string, string][];
  classMeasures: string[];
  scored: number[];
  pictured: number[];
  slots: number;
  notes: string[];
  curves: string[];
  matrices: [string, string][];
  common: Record<string, string>;
  corrected: (number | null)[];
  search: RawSearch | null;
  configurations: RawConfiguration[];
  trials: RawTrial[];
  draws: number[];
  texts: string[];
};

/**
 * One try at a slot; `place` is that of its image in the trial's sprite (null: no image was kept), `seen` the class that the gate names and
 * `judged` that of the judge (null: not known).
 */
export type Attempt = {
  class: number;
  slot: number;
  attempt: number;
  seen: number | null;
  judged: number | null;
  probability: number | null;
  accepted: boolean;
  place: number | null;
  reason: string;
  seed: string;
  prompt: string;
};
export type Trial = {
  index: number;
  name: string;
  source: string;
  maker: string;
  link: string;
  address: string;
  configuration: Configuration;
  seed: string;
  state: string;
  problem: string;
  command: string;
  readings: (Score | null)[];
  curves: [number, number][][];
  sprite: Sprite | null;
  reel: Reel | null;
  attempts: () => Map<string, Attempt[]>;
  real: Map<string, number>;
};
export type Sprite = {url: string; size: number; columns: number; images: number};
/** Validation sheets side by side in one picture, each of `width` × `height` pixels, after so many training steps. */
export type Reel = {url: string; width: number; height: number; steps: number[]};
export type Configuration = {
  index: number;
  id: string;
  label: string;
  name: string;
  ranked: boolean;
  settings: Record<string, string>;
  scores: (Score | null)[];
  fits: {mean: number | null; error: number | null}[];
  classes: (Score | null)[][];
  matrices: number[][][];
  trials: Trial[];
  seeds: string[];
  states: Map<string, number>;
};
export type Study = Omit<Payload, "configurations" | "trials" | "draws" | "texts"> & {
  configurations: Configuration[];
  trials: Trial[];
  settings: string[];
  shortSetting: Map<string, string>;
  seeds: string[];
};

export const slotKey = (cls: number, slot: number): string => `${cls}/${slot}`;

const score = (flat: Flat | 0 | undefined): Score | null =>
  flat ? {value: flat[0], low: flat[1] ?? null, high: flat[2] ?? null, n: flat[3] ?? 0} : null;

/** The last part of each dotted key, or more of it where that alone would be the same for two. */
export function shortNames(keys: readonly string[]): Map<string, string> {
  const tail = (key: string, parts: number) => key.split(".").slice(-parts).join(".");
  return new Map(
    keys.map(key => {
      let parts = 1;
      while (tail(key, parts) !== key && keys.some(other => other !== key && tail(other, parts) === tail(key, parts))) parts += 1;
      return [key, tail(key, parts)];
    }),
  );
}

export const isNumber = (text: string): boolean => text.trim() !== "" && !Number.isNaN(Number(text));

/** Numbers by their value (1e-5 before 0.0003), and before words. */
export function inOrder(a: string, b: string): number {
  if (isNumber(a) && isNumber(b)) return Number(a) - Number(b);
  return Number(isNumber(b)) - Number(isNumber(a)) || a.localeCompare(b, undefined, {numeric: true});
}

export const sortedUnique = (values: readonly string[]): string[] => [...new Set(values)].sort(inOrder);

function pairs(flat: readonly number[]): [number, number][] {
  const found: [number, number][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) found.push([flat[i] as number, flat[i + 1] as number]);
  return found;
}

function attemptsBySlot(flat: readonly number[], {draws, texts}: Payload): Map<string, Attempt[]> {
  const found = new Map<string, Attempt[]>();
  let place = 0;
  for (let i = 0; i + 4 < flat.length; i += 5) {
    const [draw, seen, probability, marks, judged] = flat.slice(i, i + 5) as [number, number, number, number, number];
    const [cls, slot, attempt, seed, prompt] = draws.slice(5 * draw, 5 * draw + 5) as [number, number, number, number, number];
    const key = slotKey(cls, slot),
      image = (marks & 2) !== 0;
    const one: Attempt = {
      class: cls,
      slot,
      attempt,
      seen: seen < 0 ? null : seen,
      judged: judged < 0 ? null : judged,
      probability: probability < 0 ? null : probability / 1000,
      accepted: (marks & 1) !== 0,
      place: image ? place : null,
      reason: texts[marks >> 2] ?? "",
      seed: texts[seed] ?? "",
      prompt: texts[prompt] ?? "",
    };
    if (image) place += 1;
    const list = found.get(key);
    if (list) list.push(one);
    else found.set(key, [one]);
  }
  return found;
}

/** Rows of counts from places and counts of the cells that are not 0; empty where there is no matrix. */
export function matrix(flat: readonly number[], classes: number): number[][] {
  if (!flat.length) return [];
  const rows = Array.from({length: classes}, () => new Array<number>(classes).fill(0));
  for (const [place, count] of pairs(flat)) {
    const row = rows[Math.floor(place / classes)];
    if (row) row[place % classes] = count;
  }
  return rows;
}

function classScores(flat: readonly (number | null)[]): (Score | null)[] {
  const found: (Score | null)[] = [];
  for (let i = 0; i + 3 < flat.length; i += 4) {
    const value = flat[i] ?? null;
    found.push(value === null ? null : {value, low: flat[i + 1] ?? null, high: flat[i + 2] ?? null, n: flat[i + 3] ?? 0});
  }
  return found;
}

export function study(payload: Payload): Study {
  const settings = sortedUnique(payload.configurations.flatMap(c => Object.keys(c.settings)));
  const shortSetting = shortNames(settings);
  const describe = (c: RawConfiguration) =>
    settings
      .filter(key => key in c.settings)
      .map(key => `${shortSetting.get(key) ?? key} ${c.settings[key] ?? ""}`)
      .join(" · ") || c.label;
  const configurations: Configuration[] = payload.configurations.map((c, index) => ({
    index,
    id: c.id,
    label: c.label,
    name: describe(c),
    ranked: c.ranked,
    settings: c.settings,
    scores: c.scores.map(score),
    fits: c.fits.map(([mean, error]) => ({mean, error})),
    classes: c.classes.map(classScores),
    matrices: c.matrices.map(flat => matrix(flat, payload.classes.length)),
    trials: [],
    seeds: [],
    states: new Map<string, number>(),
  }));
  const trials = payload.trials.map((t, index): Trial => {
    const configuration = configurations[t.configuration] as Configuration;
    const images = t.sprite?.[3] ?? 0,
      real = pairs(t.real);
    let decoded: Map<string, Attempt[]> | null = null;
    const trial: Trial = {
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
      command: t.command.map(i => payload.texts[i] ?? "").join(" "),
      readings: t.readings.map(score),
      curves: t.curves.map(pairs),
      sprite: t.sprite && {url: t.sprite[0], size: t.sprite[1], columns: t.sprite[2], images},
      reel: t.reel && {url: t.reel[0], width: t.reel[1], height: t.reel[2], steps: t.reel.slice(3) as number[]},
      attempts: () => (decoded ??= attemptsBySlot(t.attempts, payload)),
      real: new Map(real.map(([cls, slot], i) => [slotKey(cls, slot), images - real.length + i])),
    };
    configuration.trials.push(trial);
    configuration.states.set(t.state, (configuration.states.get(t.state) ?? 0) + 1);
    return trial;
  });
  for (const c of configurations) {
    c.trials.sort((a, b) => inOrder(a.seed, b.seed));
    c.seeds = c.trials.filter(t => t.state === "done").map(t => t.seed);
  }
  return {
    ...payload,
    configurations,
    trials,
    settings,
    shortSetting,
    seeds: sortedUnique(trials.filter(t => t.sprite).map(t => t.seed)),
  };
}
