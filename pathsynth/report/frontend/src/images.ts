// The same slots of the ticked configurations, one image each.
import {attemptShown, chosen, pictured, swatch, type App} from "./app";
import {h} from "./dom";
import {columnsOf, gap, hasImages, realTile, tile} from "./tiles";
import {nothing, note, scrolling} from "./parts";

export function images(app: App): Node[] {
  const list = chosen(app).filter(hasImages);
  const notes = app.study.notes.map(note);
  if (!list.length) return [nothing("None of these configurations has images yet."), ...notes];
  const slots = columnsOf(app, 12),
    side = innerWidth < 640 ? 56 : 80;
  const rows = list.map(c => {
    const t = pictured(app, c);
    return h(
      "tr",
      {"data-c": c.index},
      h("th", {scope: "row"}, swatch(app, c), c.name, h("small", {}, t ? `seed ${t.seed || "unknown"}` : "")),
      ...slots.map(s => {
        const a = t && attemptShown(app, t, s.cls, s.slot);
        return h("td", {}, t && a ? tile(app, t, a, side, "image") : gap(side));
      }),
    );
  });
  const withReal = list.map(c => pictured(app, c)).find(t => t && t.real.size);
  if (withReal)
    rows.push(
      h(
        "tr",
        {},
        h("th", {scope: "row"}, "real images"),
        ...slots.map(s => h("td", {}, realTile(app, withReal, s.cls, s.slot, side))),
      ),
    );
  const table = h(
    "table",
    {class: "images"},
    h("thead", {}, h("tr", {}, h("td", {}), ...slots.map(s => h("th", {scope: "col"}, h("span", {}, s.head))))),
    h("tbody", {}, ...rows),
  );
  return [
    note(
      "Same column, same slot: the same class, prompt and random seed of the first attempt in every row. None was picked by hand. Solid frame: accepted by the gate; dashed frame with a cut corner: rejected. Filled dot: the judge names the requested class; ring: another. Click an image for all attempts at its slot.",
    ),
    scrolling("Images of the same slots", table),
    ...notes,
  ];
}
