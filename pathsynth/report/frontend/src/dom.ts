type Value = string | number | boolean | null | undefined | ((event: never) => void);
type Child = Node | string | null | undefined | false;

function fill<T extends Element>(made: T, attributes: Record<string, Value>, children: readonly Child[]): T {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value as EventListener);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
  return made;
}

/** An element; texts become text nodes, so that what users typed stays text. Functions among the attributes are listeners. */
export const h = <K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] => fill(document.createElement(tag), attributes, children);

export const svg = <K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): SVGElementTagNameMap[K] => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** A line of text with a button that copies it. */
export function copyable(text: string, what: string): HTMLElement {
  const button = h(
    "button",
    {type: "button", class: "copy", "aria-label": `Copy ${what}`, click: () => void copy(text, button)},
    "Copy",
  );
  return h("div", {class: "command"}, h("code", {}, text), button);
}

export async function copy(text: string, button: HTMLElement): Promise<void> {
  const usual = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const area = h("textarea", {"aria-hidden": "true"});
    area.value = text;
    document.body.append(area);
    area.select();
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl-C";
    area.remove();
  }
  setTimeout(() => {
    button.textContent = usual;
  }, 1500);
}

/** Only a web address or a path below the page's folder is followed. */
export const isSafeLink = (link: string): boolean => /^https?:\/\//.test(link) || !/^[a-z][a-z0-9+.-]*:/i.test(link);
