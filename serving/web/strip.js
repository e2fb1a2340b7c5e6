/** All photographs side by side, each with how far it is. */

import { byId, element, icon } from "./element.js";

/** @typedef {import("./photos.js").Item} Item */

export class Strip {
  list = byId("strip");
  /** @type {Map<Item, HTMLLIElement>} */
  tiles = new Map();

  /** @param {import("./photos.js").Photos} photos */
  constructor(photos) {
    this.photos = photos;
    const add = element(
      "button",
      { type: "button", className: "tile add" },
      element("span", { className: "face" }, icon("plus")),
      element("span", { className: "name" }, "Add more"),
    );
    add.addEventListener("click", () => byId("files").click());
    this.list.append(element("li", {}, add));
    photos.on(["added"], (item) => item && this.add(item));
    photos.on(["removed"], (item) => item && this.remove(item));
    photos.on(["shown"], () => this.mark());
    photos.on(["changed"], (item) => item && this.draw(item));
  }

  /** @param {Item} item */
  add(item) {
    const tile = element("button", { type: "button", className: "tile" });
    tile.addEventListener("click", () => this.photos.show(item));
    const leave = element(
      "button",
      { type: "button", className: "leave", "aria-label": `Remove ${item.name}`, title: "Remove" },
      icon("close"),
    );
    leave.addEventListener("click", () => this.photos.remove(item));
    const place = element("li", {}, tile, leave);
    this.tiles.set(item, place);
    this.list.insertBefore(place, this.list.lastElementChild);
    this.draw(item);
    this.mark();
  }

  /** @param {Item} item */
  remove(item) {
    const place = this.tiles.get(item);
    const next = /** @type {Element} */ (place?.nextElementSibling).querySelector("button");
    place?.remove();
    this.tiles.delete(item);
    next?.focus();
  }

  mark() {
    for (const [item, place] of this.tiles) {
      const current = item === this.photos.current;
      const tile = /** @type {Element} */ (place.firstElementChild);
      tile.setAttribute("aria-current", String(current));
      if (current) place.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  /** @param {Item} item */
  draw(item) {
    const tile = /** @type {HTMLElement} */ (this.tiles.get(item)?.firstElementChild);
    tile.dataset.status = item.status;
    tile.replaceChildren(
      element("span", { className: "face" }, item.thumbnail ?? icon(item.kind === "album" ? "zip" : "picture")),
      ...badge(item),
      element("span", { className: "name" }, item.name),
      element("span", { className: "state" }, words(item)),
    );
  }
}

/** @param {Item} item */
export function words(item) {
  switch (item.status) {
    case "ready":
      return "Ready";
    case "waiting":
      return "Waiting";
    case "sending":
      return `Sending ${Math.round(100 * item.sent)} %`;
    case "working":
      return progress(item);
    case "pausing":
      return `Again in ${item.seconds} s`;
    case "done":
      return "Done";
    case "refused":
      return "Not done";
  }
}

/** @param {Item} item */
function progress(item) {
  if (item.kind !== "album" || !item.state) return "Working…";
  return `${item.state.done + item.state.refused + item.state.failed} of ${item.state.total}`;
}

/** @param {Item} item */
function badge(item) {
  if (item.status === "sending" || item.status === "working") {
    const bar = element("i");
    if (item.status === "sending") bar.style.width = `${100 * item.sent}%`;
    return [element("span", { className: item.status === "sending" ? "progress" : "progress endless" }, bar)];
  }
  const sign = { done: "done", refused: "refused", waiting: "waiting", pausing: "waiting", ready: "" }[item.status];
  return sign ? [element("span", { className: "badge" }, icon(sign))] : [];
}
