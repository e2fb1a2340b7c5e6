/** Starting, stopping and saving: what the buttons say, and which photographs they mean. */

import { byId } from "./element.js";
import { signature } from "./request.js";

/** @typedef {import("./photos.js").Item} Item */

const HOPELESS = [400, 413, 415]; // the file's own fault: it would be refused again

export class Actions {
  /**
   * @param {import("./photos.js").Photos} photos
   * @param {import("./choices.js").Choices} choices
   * @param {{start: (item: Item) => void, stop: (item: Item) => void}} acts
   */
  constructor(photos, choices, { start, stop }) {
    this.photos = photos;
    this.choices = choices;
    byId("start").addEventListener("click", () => {
      const left = this.pending();
      for (const item of left.length ? left : [photos.current]) if (item) start(item);
    });
    byId("start-one").addEventListener("click", () => photos.current && start(photos.current));
    byId("cancel").addEventListener("click", () => photos.items.filter(({ busy }) => busy).forEach(stop));
    choices.addEventListener("changed", () => this.draw());
    photos.on(["shown", "changed", "added", "removed"], () => this.draw());
    addEventListener("beforeunload", (event) => {
      if (photos.items.some(({ busy }) => busy)) event.preventDefault();
    });
  }

  /** Those that were not done as it is chosen now. */
  pending() {
    const { wish } = this.choices;
    return this.photos.items.filter((item) => {
      if (item.busy) return false;
      if (item !== this.photos.current && item.refusal && HOPELESS.includes(item.refusal.status)) return false;
      if (item.kind === "album") return item.status !== "done";
      return !item.result || item.result.asked !== signature(item, wish);
    });
  }

  draw() {
    const { current, items, photos } = this.photos;
    if (!current) return;
    const left = this.pending();
    const others = left.filter((item) => item !== current).length;
    byId("start").textContent = `${this.choices.verb}${scope(left.length, others)}`;
    byId("start").classList.toggle("primary", left.length > 0);
    byId("start").hidden = !left.length && current.busy;
    byId("start-one").hidden = !others || left.length === others;
    byId("cancel").hidden = !items.some((item) => item.busy);
    const done = photos.filter((photo) => photo.result).length;
    const ready = current.kind === "photo" ? !!current.result : current.status === "done";
    byId("download").classList.toggle("primary", left.length === 0);
    byId("downloads").hidden = !ready && done < 2;
    byId("download").hidden = !ready;
    byId("download-all").hidden = done < 2;
  }
}

/** @param {number} left @param {number} others of them that are not shown */
function scope(left, others) {
  if (!left) return " again";
  if (!others) return "";
  return left === 1 ? " the other one" : ` all ${left}`;
}
