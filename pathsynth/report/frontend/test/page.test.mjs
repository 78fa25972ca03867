import assert from "node:assert/strict";
import test from "node:test";
import {inOrder, matrix, shortNames, slotKey, study} from "../node_modules/.modules/data.mjs";
import {condition, parse} from "../node_modules/.modules/query.mjs";
import {difference, fixed, shown, ticks} from "../node_modules/.modules/stats.mjs";
import {pointsOf, records} from "../node_modules/.modules/search.mjs";
import {PLAIN, read, write} from "../node_modules/.modules/view.mjs";

const measure = (key, alias, better = 1) => ({key, alias, short: alias, name: alias, help: "", better, digits: 3, unit: true});
const configuration = (rank, mean) => ({
  id: `c${rank}`,
  label: `lora.rank=${rank}`,
  ranked: true,
  settings: {"lora.rank": String(rank), "a.name": "x y"},
  scores: [
    [mean, mean - 0.1, mean + 0.1, 90],
    [0.2, null, null, 0],
  ],
  fits: [
    [mean, 0.01],
    [0.2, null],
  ],
  classes: [[0.5, 0.4, 0.6, 9, null, null, null, 0]],
  matrices: [[0, 8, 1, 1, 3, 9]],
});
const trial = (index, seed, state = "done", problem = "") => ({
  name: `t${index}${seed}`,
  link: "",
  source: "",
  maker: "ada on box",
  address: "",
  configuration: index,
  seed,
  state,
  problem,
  command: [1, 2],
  readings: [[0.5, 0.4, 0.6, 30], 0],
  curves: [[0, 1, 10, 0.5]],
  attempts: [0, 0, 250, 2 + 4 * 3, -1, 1, 1, 800, 3, 0],
  real: [1, 0],
  sprite: ["s.webp", 32, 16, 3],
});
const payload = {
  title: "s",
  facts: [],
  main: "macro_f1/b/judge",
  measures: [measure("macro_f1/b/judge", "f1_judge"), measure("kid", "kid", -1)],
  verdict: {},
  effects: [],
  classes: [
    ["a", "A"],
    ["b", "B"],
  ],
  classMeasures: ["m"],
  scored: [0, 1],
  pictured: [1],
  slots: 1,
  notes: [],
  curves: ["loss"],
  matrices: [["b", "gate"]],
  common: {},
  corrected: [3, null],
  search: null,
  configurations: [configuration(16, 0.6), configuration(1, 0.4)],
  trials: [trial(0, "0"), trial(0, "1", "failed", "the loss became nan"), trial(1, "0")],
  draws: [1, 0, 0, 0, 0, 1, 0, 1, 0, 0],
  texts: ["", "pathsynth", "run", "too far"],
};
const made = study(payload);
const names = text => made.configurations.filter(parse(made, text).holds).map(c => c.id);

test("names are as short as is unambiguous", () => {
  assert.deepEqual(
    [...shortNames(["lora.rank", "gate.lr", "judge.lr", "seed"]).values()],
    ["rank", "gate.lr", "judge.lr", "seed"],
  );
});
test("numbers are ordered by their value, and before words", () => {
  assert.deepEqual(["x", "0.02", "1e-05", "0.001", "auto"].sort(inOrder), ["1e-05", "0.001", "0.02", "auto", "x"]);
});
test("the best so far counts trials with a score alone, and knows which way is better", () => {
  const point = (number, state, value) => [number, state, value === null ? [] : [value], "", "", -1];
  const points = pointsOf({
    points: [point(0, "failed", null), point(1, "done", 0.4), point(2, "pruned", 0.9), point(3, "done", 0.3), point(4, "done", 0.6)],
  });
  const numbers = better => records(points, 0, better).map(({point, value}) => [point.number, value]);
  assert.deepEqual(numbers(1), [
    [1, 0.4],
    [4, 0.6],
  ]);
  assert.deepEqual(numbers(-1), [
    [1, 0.4],
    [3, 0.3],
  ]);
});
test("a query holds by value and not by its beginning", () => {
  assert.deepEqual(names("rank=1"), ["c1"]);
  assert.deepEqual(names("rank>=1 f1>0.5"), ["c16"]);
  assert.deepEqual(names("lora.rank!=16"), ["c1"]);
  assert.deepEqual(names("state:failed"), ["c16"]);
  assert.deepEqual(names("NaN"), ["c16"]);
  assert.deepEqual(names("rank=16 state:failed seed=0"), [], "both of one trial");
  assert.deepEqual(names(""), ["c16", "c1"]);
  assert.equal(condition("name", "x y"), 'name="x y"');
  assert.deepEqual(names('name="x y" rank=1'), ["c1"], "quotes keep words together");
  assert.deepEqual(names("name=x"), []);
});
test("a wrong query says what is wrong and what to type", () => {
  assert.match(parse(made, "rnk=1").problem, /no setting or score “rnk”; did you mean “rank”\?/);
  assert.match(parse(made, "zzzzzzzz>1").problem, /try f1_judge/);
  assert.match(parse(made, "rank>many").problem, /“many” in “rank>many” is not a number/);
  assert.match(parse(made, "rank=").problem, /lacks a value/);
  assert.match(parse(made, "state:broken").problem, /There is no state “broken”; states are done, failed/);
  assert.equal(parse(made, "rank<1e2 state:done words").problem, "");
});
test("what is shown is written to the address and read back the same", () => {
  assert.equal(write(PLAIN), "");
  assert.deepEqual(read(""), PLAIN);
  const view = {
    ...PLAIN,
    query: "rank>4 lr<1e-2 état:#&",
    chosen: ["ab", "cd"],
    tab: "compare",
    down: true,
    open: ["ab"],
    hidden: ["kid"],
    kind: "last",
    every: true,
    matrix: "1",
    base: "cd",
  };
  assert.deepEqual(read(`#${write(view)}`), view);
  assert.deepEqual(read(`#${write({...PLAIN, chosen: []})}`).chosen, [], "none is not the same as the usual ones");
  assert.equal(read("#tab=nonsense").tab, "images");
  assert.equal(read("#show=1,2,3,4,5,6,7,8,9").chosen.length, 8);
});
test("attempts stand at their slots with the place of their image", () => {
  const all = made.trials[0].attempts().get(slotKey(1, 0));
  assert.deepEqual(
    all.map(a => [a.attempt, a.accepted, a.place, a.reason, a.probability]),
    [
      [0, false, 0, "too far", 0.25],
      [1, true, 1, "", 0.8],
    ],
  );
  assert.equal(made.trials[0].real.get(slotKey(1, 0)), 2);
  assert.equal(made.trials[0].command, "pathsynth run");
});
test("a matrix has its zeros again", () => {
  assert.deepEqual(matrix([0, 8, 1, 1, 3, 9], 2), [
    [8, 1],
    [0, 9],
  ]);
});
test("a difference is paired and has the corrected interval, or says that there is none", () => {
  const [a, b] = made.configurations,
    d = difference(made, 0, a, b);
  assert.equal(d.value.toFixed(3), "0.200");
  assert.equal((d.high - d.low).toFixed(4), (2 * 3 * Math.hypot(0.01, 0.01)).toFixed(4));
  assert.equal(d.plain, true);
  assert.equal(difference(made, 1, a, b).plain, null);
});
test("numbers are shown with interval and n", () => {
  assert.equal(shown({value: 0.5, low: 0.4, high: 0.61234, n: 1350}, 3), "0.500 [0.400, 0.612] n=1,350");
  assert.equal(shown(null, 3), "not measured");
  assert.equal(fixed(-0.25, 2), "−0.25");
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
});
