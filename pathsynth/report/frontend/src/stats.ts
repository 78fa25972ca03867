import type {Configuration, Score, Study} from "./data";

/** `value` more than the baseline has; `plain`: the corrected interval excludes 0 (null: there is no interval). */
export type Difference = {value: number; low: number | null; high: number | null; plain: boolean | null};

/**
 * The difference of two configurations in a measure: paired over training seeds (of fitted means, so that a seed that one lacks does not
 * count against it), with an interval that is corrected for all configurations that are compared with one baseline.
 */
export function difference(study: Study, measure: number, one: Configuration, base: Configuration): Difference | null {
  const x = one.fits[measure],
    y = base.fits[measure],
    times = study.corrected[measure] ?? null;
  if (!x || !y || x.mean === null || y.mean === null) return null;
  const value = x.mean - y.mean;
  if (x.error === null || y.error === null || times === null) return {value, low: null, high: null, plain: null};
  const half = times * Math.hypot(x.error, y.error);
  return {value, low: value - half, high: value + half, plain: value - half > 0 || value + half < 0};
}

export const fixed = (value: number, digits: number): string => value.toFixed(digits).replace("-", "−");

export const signed = (value: number, digits: number): string => (value > 0 ? "+" : "") + fixed(value, digits);

export const interval = (low: number | null, high: number | null, digits: number): string =>
  low === null || high === null ? "" : `[${fixed(low, digits)}, ${fixed(high, digits)}]`;

/** "0.512 [0.470, 0.554] n=450"; what is not known is left out. */
export function shown(score: Score | null | undefined, digits: number): string {
  if (!score) return "not measured";
  const n = score.n ? `n=${score.n.toLocaleString("en")}` : "";
  return [fixed(score.value, digits), interval(score.low, score.high, digits), n].filter(Boolean).join(" ");
}

export function shownDifference(d: Difference | null, digits: number): string {
  if (!d) return "not comparable";
  return [signed(d.value, digits), interval(d.low, d.high, digits)].filter(Boolean).join(" ");
}

/** Round numbers at even steps that cover the range, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find(m => m * power >= rough) ?? 10) * power;
  const found: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}
