/** Colour hints: where a colour is wanted, which one, and how large its spot is. */

import { css, fitToGamut, hexToRgb, labToRgb, rgbToHex, rgbToLab } from "./color.js";
import { byId, element } from "./element.js";
import { say } from "./live.js";
import { Marks } from "./marks.js";
import { likely, nameOf } from "./palette.js";
import { askReference } from "./reference.js";
import { signature } from "./request.js";
import { labAt } from "./sample.js";

/** @typedef {import("./photo.js").Photo} Photo @typedef {import("./photo.js").Hint} Hint @typedef {import("./gestures.js").Tool} Tool */

const MOST = 256; // hints of a photograph that the service takes
const PATIENCE = 600; // milliseconds after a change before it is applied

export class Hints {
  /** Which hint is edited; the number after the last is the draft's. */
  chosen = -1;
  /** A place without a colour yet. @type {import("./view.js").Place | null} */
  draft = null;
  picking = false;
  /** Why hints cannot be given now; empty: they can. */
  obstacle = "";
  timer = 0;

  /**
   * @param {import("./photos.js").Photos} photos
   * @param {import("./view.js").View} view
   * @param {(photo: Photo) => void} apply has the photograph done once more
   */
  constructor(photos, view, apply) {
    this.photos = photos;
    this.view = view;
    this.apply = apply;
    this.marks = new Marks(view, {
      choose: (i) => this.choose(i),
      move: (i, place) => this.move(i, place),
      moved: () => this.changed(),
      remove: (i) => this.remove(i),
    });
    byId("any-colour").addEventListener("input", () => this.colour(rgbToLab(hexToRgb(byId("any-colour").value))));
    byId("pick").addEventListener("click", () => this.pick(!this.picking));
    byId("reference").addEventListener("click", async () => {
      const lab = await askReference();
      if (lab) this.colour(lab);
    });
    byId("hint-size").addEventListener("input", () => this.resize());
    byId("remove-hint").addEventListener("click", () => this.remove(this.chosen));
    byId("remove-hints").addEventListener("click", () => this.removeAll());
    for (const picture of ["before", "after"]) byId(picture).addEventListener("load", () => this.draw());
    photos.on(["shown"], () => this.forgetDraft());
    photos.on(["shown", "changed"], (item) => item === photos.current && this.draw());
  }

  /** @param {string} obstacle why no hints can be given from now on; empty: they can */
  hinder(obstacle) {
    this.obstacle = obstacle;
    this.draw();
  }

  get photo() {
    return this.photos.photo;
  }

  get hints() {
    return this.photo?.hints ?? [];
  }

  /** Of a new hint, pixels of the photograph: from 0.4 % to 10 % of the shorter side. */
  get radius() {
    return 0.004 * 25 ** (Number(byId("hint-size").value) / 100) * Math.min(this.view.width, this.view.height);
  }

  /** Where the hint that is edited is. */
  get place() {
    return this.hints[this.chosen] ?? (this.chosen >= 0 ? this.draft : null);
  }

  /** @param {import("./view.js").Place} place of the picture that is shown */
  lab({ x, y }) {
    const picture = byId(this.photo?.result?.url ? "after" : "before");
    return labAt(picture, (x * picture.naturalWidth) / this.view.width, (y * picture.naturalHeight) / this.view.height);
  }

  draw() {
    const { photo, place } = this;
    const marks = this.hints.map((hint) => {
      const [lightness] = this.lab(hint);
      return {
        ...hint,
        lab: /** @type {import("./color.js").Triple} */ ([lightness, hint.a, hint.b]),
        name: nameOf(lightness, hint.a, hint.b),
      };
    });
    /** @type {import("./marks.js").Mark[]} */
    const all = this.draft ? [...marks, { ...this.draft, radius: 0, lab: null, name: "no colour yet" }] : marks;
    const applied =
      !!photo?.result &&
      photo.result.wish.task !== "restore" &&
      signature(photo, photo.result.wish) === photo.result.asked;
    this.marks.draw(all, this.chosen, !applied);
    byId("hints-note").textContent =
      this.obstacle || (this.picking ? "Click the place whose colour it is to have." : invitation(this.hints.length));
    byId("hint-editor").hidden = !place;
    byId("remove-hints").hidden = this.hints.length < 2;
    if (place) this.drawEditor(place, all[this.chosen]);
  }

  /** @param {import("./view.js").Place} place @param {import("./marks.js").Mark} mark */
  drawEditor(place, mark) {
    const [lightness] = this.lab(place);
    const palette = byId("palette");
    const shown = [lightness, ...(mark.lab ?? [])].join();
    // Made again only where it changes, so that a button keeps the focus while something else is told.
    if (palette.dataset.shown !== shown)
      palette.replaceChildren(...likely(lightness).map((colour) => this.button(colour, mark.lab)));
    palette.dataset.shown = shown;
    byId("swatch").style.backgroundColor = mark.lab ? css(mark.lab) : "transparent";
    byId("swatch-name").textContent = mark.name;
    if (mark.lab) byId("any-colour").value = rgbToHex(labToRgb(mark.lab));
    byId("pick").setAttribute("aria-pressed", String(this.picking));
  }

  /** @param {import("./palette.js").Colour} colour @param {import("./color.js").Triple | null} now */
  button({ name, lab }, now) {
    const same = !!now && Math.hypot(now[1] - lab[1], now[2] - lab[2]) < 0.5;
    const button = element("button", {
      type: "button",
      className: "colour",
      title: name,
      "aria-label": name,
      "aria-pressed": same,
    });
    button.style.backgroundColor = css(lab);
    button.addEventListener("click", () => {
      this.colour(lab);
      /** @type {HTMLElement | null} */ (byId("palette").querySelector(`[aria-label="${name}"]`))?.focus();
    });
    return button;
  }

  /** @param {number} i */
  choose(i) {
    this.chosen = i;
    const hint = this.hints[i];
    if (hint) {
      const share = hint.radius / (0.004 * Math.min(this.view.width, this.view.height));
      byId("hint-size").value = (100 * Math.log(share)) / Math.log(25);
    }
    this.draw();
  }

  /** @param {number} i @param {import("./view.js").Place} place */
  move(i, place) {
    if (this.hints[i]) Object.assign(this.hints[i], place);
    else this.draft = place;
    this.draw();
  }

  /** @param {import("./color.js").Triple} lab of any lightness: the picture's own stays */
  colour(lab) {
    const { place, photo } = this;
    if (!place || !photo) return;
    const [lightness] = this.lab(place);
    const [, a, b] = fitToGamut([lightness, lab[1], lab[2]]).map((value) => Math.round(100 * value) / 100);
    if (this.hints[this.chosen]) Object.assign(this.hints[this.chosen], { a, b });
    else {
      photo.hints.push({ x: place.x, y: place.y, a, b, radius: Math.round(10 * this.radius) / 10 });
      this.draft = null;
    }
    say(`${nameOf(lightness, a, b)} here.`);
    this.changed();
  }

  resize() {
    const hint = this.hints[this.chosen];
    if (!hint) return;
    hint.radius = Math.round(10 * this.radius) / 10;
    this.changed();
  }

  /** @param {number} i */
  remove(i) {
    if (this.hints[i]) {
      this.hints.splice(i, 1);
      say("The hint is removed.");
    } else this.draft = null;
    this.chosen = Math.min(this.chosen, this.hints.length - 1);
    this.changed();
  }

  removeAll() {
    this.hints.length = 0;
    this.forgetDraft();
    say("All hints are removed.");
    this.changed();
  }

  forgetDraft() {
    this.draft = null;
    this.chosen = -1;
    this.pick(false);
  }

  /** @param {boolean} picking whether the next click takes the colour from the picture */
  pick(picking) {
    this.picking = picking;
    this.draw();
    if (picking) say("Choose the place whose colour it is to have.");
  }

  changed() {
    const { photo } = this;
    if (!photo) return;
    this.photos.changed(photo);
    clearTimeout(this.timer);
    const stale = photo.result && signature(photo, photo.result.wish) !== photo.result.asked;
    if (stale && byId("as-i-go").checked) this.timer = setTimeout(() => this.apply(photo), PATIENCE);
  }

  /** @returns {Tool} */
  tool() {
    return {
      cursor: "crosshair",
      help: "Arrow keys move a cross, with Shift further. Enter puts a hint there, whose colour is then chosen beside the picture.",
      cross: true,
      down: (place) => {
        if (!this.photo?.newest || this.obstacle || !this.view.inside(place)) return;
        if (this.picking) {
          this.pick(false);
          this.colour(this.lab(place));
        } else if (this.hints.length < MOST) {
          this.draft = place;
          this.choose(this.hints.length);
          say("Choose the colour of this place.");
          // On a phone it is below the picture.
          byId("palette").scrollIntoView({ block: "nearest" });
        }
      },
      move: () => {},
      up: () => {},
      cancel: () => {},
      hover: () => {},
    };
  }
}

/** @param {number} hints that there are */
function invitation(hints) {
  if (!hints) return "Click the picture where you know the colour, then choose it here.";
  return hints === 1 ? "One hint. Click the picture for more." : `${hints} hints. Click the picture for more.`;
}
