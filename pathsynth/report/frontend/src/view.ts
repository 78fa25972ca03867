// What is shown, all of it in the address behind #: reload, back and a shared link give the same view.
export type Tab = "images" | "settings" | "training" | "classes" | "cost" | "compare" | "search";
export const TABS: readonly Tab[] = ["images", "settings", "training", "classes", "cost", "compare", "search"];

export type View = {
  query: string;
  measure: string;
  base: string;
  chosen: string[] | null;
  tab: Tab;
  sort: string;
  down: boolean;
  open: string[];
  hidden: string[];
  cls: string;
  seed: string;
  kind: "first" | "last";
  classMeasure: string;
  matrix: string;
  every: boolean;
  allClasses: boolean;
};
export const PLAIN: View = {
  query: "",
  measure: "",
  base: "",
  chosen: null,
  tab: "images",
  sort: "",
  down: false,
  open: [],
  hidden: [],
  cls: "",
  seed: "",
  kind: "first",
  classMeasure: "",
  matrix: "",
  every: false,
  allClasses: false,
};
/** At most so many configurations are compared. */
export const MOST_CHOSEN = 8;

const NAMES: Record<keyof View, string> = {
  query: "q",
  measure: "score",
  base: "base",
  chosen: "show",
  tab: "tab",
  sort: "sort",
  down: "down",
  open: "open",
  hidden: "hide",
  cls: "class",
  seed: "seed",
  kind: "attempt",
  classMeasure: "by",
  matrix: "matrix",
  every: "every",
  allClasses: "all",
};

export function write(view: View): string {
  const found = new URLSearchParams();
  for (const key of Object.keys(NAMES) as (keyof View)[]) {
    const value = view[key],
      plain = PLAIN[key];
    const text = Array.isArray(value)
      ? value.join(",")
      : value === null
        ? ""
        : typeof value === "boolean"
          ? value
            ? "1"
            : ""
          : value;
    const usual =
      plain === null ? null : Array.isArray(plain) ? plain.join(",") : typeof plain === "boolean" ? (plain ? "1" : "") : plain;
    if (value !== null && text !== usual) found.set(NAMES[key], text);
  }
  return found.toString();
}

export function read(hash: string): View {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (key: keyof View): string => given.get(NAMES[key]) ?? "";
  const list = (key: keyof View): string[] => text(key).split(",").filter(Boolean);
  const tab = TABS.find(t => t === text("tab")) ?? PLAIN.tab;
  return {
    query: text("query"),
    measure: text("measure"),
    base: text("base"),
    chosen: given.has(NAMES.chosen) ? list("chosen").slice(0, MOST_CHOSEN) : null,
    tab,
    sort: text("sort"),
    down: text("down") === "1",
    open: list("open"),
    hidden: list("hidden"),
    cls: text("cls"),
    seed: text("seed"),
    kind: text("kind") === "last" ? "last" : "first",
    classMeasure: text("classMeasure"),
    matrix: text("matrix"),
    every: text("every") === "1",
    allClasses: text("allClasses") === "1",
  };
}
