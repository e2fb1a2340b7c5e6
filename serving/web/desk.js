/** What is seen of the photograph that is shown: the picture, what lies over it, and the words around it. */

import { drawAlbum } from "./album-view.js";
import { byId } from "./element.js";
import { drawCaption, drawNotice, drawVeil } from "./notice.js";

/** @typedef {"compare" | "damage" | "colours"} Mode */

/** @returns {Mode} */
export const mode = () =>
  /** @type {any} */ (/** @type {HTMLInputElement} */ (document.querySelector("input[name=mode]:checked")).value);

export class Desk {
  /**
   * @param {import("./photos.js").Photos} photos
   * @param {import("./view.js").View} view
   * @param {import("./compare.js").Compare} compare
   * @param {(item: import("./photos.js").Item) => void} again what a notice's button does
   */
  constructor(photos, view, compare, again) {
    this.photos = photos;
    this.view = view;
    this.compare = compare;
    this.again = again;
    photos.on(["shown"], (item) => {
      byId("welcome").hidden = !!item;
      byId("desk").hidden = !item;
    });
    photos.on(["shown", "changed"], (item) => item === photos.current && this.draw());
  }

  draw() {
    const item = this.photos.current;
    if (!item) return;
    const now = mode();
    const album = item.kind === "album";
    byId("desk").dataset.mode = this.view.stage.dataset.mode = album ? "compare" : now;
    byId("stage").hidden = byId("bar").hidden = byId("words").hidden = album;
    byId("zip-view").hidden = !album;
    byId("damage-panel").hidden = album || now !== "damage";
    byId("colours-panel").hidden = album || now !== "colours";
    drawCaption(item);
    drawVeil(item);
    drawNotice(item, () => this.again(item));
    if (album) drawAlbum(item);
    else this.drawPicture(item, now);
  }

  /** @param {import("./photo.js").Photo} photo @param {Mode} now */
  drawPicture(photo, now) {
    const { stage } = this.view;
    show(byId("before"), photo.url);
    show(byId("after"), photo.result?.url ?? null);
    const blank = !photo.newest;
    byId("blank").hidden = !blank || !photo.looked;
    byId("blank-hope").hidden = !!photo.result || photo.status === "refused";
    stage.dataset.blank = String(blank);
    this.view.size(photo.width || 4, photo.height || 3);
    this.compare.show(seen(photo, now));
    byId("mask").hidden = now !== "damage";
    byId("hints").hidden = now !== "colours";
    stage.setAttribute("aria-label", `${photo.name}, ${photo.result ? "before and after" : "as it was given"}`);
  }
}

/**
 * Damage is that of the photograph as it was given, colours are those of the answer.
 * @param {import("./photo.js").Photo} photo
 * @param {Mode} now
 */
function seen({ result, url }, now) {
  if (!result?.url) return "before";
  if (!url || now === "colours") return "after";
  return now === "damage" ? "before" : "both";
}

/** @param {HTMLImageElement} image @param {string | null} url */
function show(image, url) {
  if (image.getAttribute("src") === url) return;
  if (url) image.src = url;
  else image.removeAttribute("src");
  if (image.id === "before") image.hidden = !url;
}
