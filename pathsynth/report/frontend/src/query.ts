// The query over configurations: words that a row holds, or conditions such as rank=1, f1>0.5, state:failed; all must hold.
import {isNumber, type Configuration, type Study, type Trial} from "./data";

export type Query = {holds: (c: Configuration) => boolean; problem: string};

const CONDITION = /^([^<>=:!\s]+)(<=|>=|!=|=|<|>|:)(.*)$/;
const STATES = ["done", "failed", "pruned", "running", "missing", "waiting", "interrupted", "unreadable"];

type Field = {of: "trial"; get: (t: Trial) => string} | {of: "configuration"; get: (c: Configuration) => string | number | null};

function fields(study: Study): Map<string, Field> {
  const found = new Map<string, Field>();
  study.measures.forEach((m, i) => found.set(m.alias, {of: "configuration", get: c => c.scores[i]?.value ?? null}));
  const main = study.measures.findIndex(m => m.key === study.main);
  found.set("f1", {of: "configuration", get: c => c.scores[main]?.value ?? null});
  found.set("seeds", {of: "configuration", get: c => c.seeds.length});
  found.set("state", {of: "trial", get: t => t.state});
  found.set("seed", {of: "trial", get: t => t.seed});
  for (const key of study.settings) {
    const field: Field = {of: "configuration", get: c => c.settings[key] ?? null};
    found.set((study.shortSetting.get(key) ?? key).toLowerCase(), field);
    found.set(key.toLowerCase(), field);
  }
  return found;
}

function distance(a: string, b: string): number {
  let row = Array.from({length: b.length + 1}, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length] ?? 0;
}

const nearest = (word: string, names: readonly string[]): string | undefined =>
  names
    .map(name => ({name, d: distance(word, name)}))
    .filter(x => x.d <= Math.max(1, x.name.length / 3))
    .sort((x, y) => x.d - y.d)[0]?.name;

function holds(value: string | number | null, sign: string, wanted: string): boolean {
  if (value === null || value === "") return false;
  const text = String(value).toLowerCase(),
    both = isNumber(text) && isNumber(wanted),
    a = Number(text),
    b = Number(wanted);
  switch (sign) {
    case "=":
      return both ? a === b : text === wanted;
    case ":":
      return both ? a === b : text.includes(wanted);
    case "!=":
      return both ? a !== b : text !== wanted;
    case "<":
      return both && a < b;
    case ">":
      return both && a > b;
    case "<=":
      return both && a <= b;
    default:
      return both && a >= b;
  }
}

/** The words of a query in small letters; what stands in double quotes is one, without them. */
const words = (text: string): string[] =>
  (text.toLowerCase().match(/(?:[^\s"]|"[^"]*"?)+/g) ?? []).map(word => word.replace(/"/g, "")).filter(Boolean);

/** The condition that a setting has this value, as people type it. */
export const condition = (name: string, value: string): string =>
  `${name}=${/\s/.test(value) ? `"${value.replace(/"/g, "")}"` : value}`;

/** Reads a query; of a wrong one, `problem` says what is wrong and what to type, and nothing is filtered by the wrong part. */
export function parse(study: Study, text: string): Query {
  const known = fields(study);
  const ofTrials: ((t: Trial) => boolean)[] = [],
    ofConfigurations: ((c: Configuration) => boolean)[] = [],
    problems: string[] = [];
  for (const word of words(text)) {
    const [, name = "", sign = "", wanted = ""] = CONDITION.exec(word) ?? [];
    const field = known.get(name);
    if (!sign) {
      ofTrials.push(t =>
        `${t.name} ${t.configuration.label} ${t.configuration.name} seed=${t.seed} ${t.state} ${t.problem} ${t.source} ${t.maker}`
          .toLowerCase()
          .includes(word),
      );
    } else if (!field) {
      const near = nearest(name, [...known.keys()]);
      problems.push(
        `There is no setting or score “${name}”; ${near ? `did you mean “${near}”?` : `try ${[...known.keys()].slice(0, 8).join(", ")}.`}`,
      );
    } else if (!wanted) {
      problems.push(`“${word}” lacks a value; type for example ${name}${sign}${name === "state" ? "failed" : "1"}.`);
    } else if (/[<>]/.test(sign) && !isNumber(wanted)) {
      problems.push(`“${wanted}” in “${word}” is not a number; type for example ${name}${sign}0.5.`);
    } else if (name === "state" && !STATES.some(s => s.startsWith(wanted))) {
      problems.push(`There is no state “${wanted}”; states are ${STATES.slice(0, 5).join(", ")}.`);
    } else if (field.of === "trial") {
      ofTrials.push(t => holds(field.get(t), sign, wanted));
    } else {
      ofConfigurations.push(c => holds(field.get(c), sign, wanted));
    }
  }
  return {
    problem: problems.join(" "),
    holds: c => ofConfigurations.every(f => f(c)) && (!ofTrials.length || c.trials.some(t => ofTrials.every(f => f(t)))),
  };
}
