/** Painting the damage: brush, eraser, undo, and what the service finds by itself. */

import { byId } from "./element.js";
import { askForKey } from "./key.js";
import { say } from "./live.js";
import { asRefusal } from "./refusal.js";
import { findDamage } from "./request.js";

/** @typedef {import("./photo.js").Photo} Photo @typedef {import("./gestures.js").Tool} Tool */

export class Painting {
  /** Why what is painted has no effect now; empty: it has. */
  obstacle = "";

  /** @param {import("./photos.js").Photos} photos @param {import("./view.js").View} view */
  constructor(photos, view) {
    this.photos = photos;
    this.view = view;
    this.shown = byId("mask");
    byId("undo").addEventListener("click", () => this.change((mask) => mask.undo(), "Undone."));
    byId("clear").addEventListener("click", () =>
      this.change((mask) => mask.add({ kind: "clear" }), "Nothing is painted."),
    );
    byId("find").addEventListener("click", () => void this.find());
    photos.on(["shown", "changed"], (item) => item === photos.current && this.draw());
  }

  /** @param {string} obstacle why what is painted has no effect from now on; empty: it has */
  hinder(obstacle) {
    this.obstacle = obstacle;
    this.draw();
  }

  get mask() {
    return this.photos.photo?.mask ?? null;
  }

  get erasing() {
    return /** @type {HTMLInputElement} */ (document.querySelector("input[name=brush]:checked")).value === "erase";
  }

  /** Half the brush, screen pixels. */
  get radius() {
    return Number(byId("brush-size").value) / 2;
  }

  /** @param {(mask: import("./mask.js").Mask) => void} change @param {string} words */
  change(change, words) {
    if (!this.mask || !this.photos.photo) return;
    change(this.mask);
    this.photos.changed(this.photos.photo);
    say(words);
  }

  draw() {
    const { mask, shown } = this;
    const steps = mask?.steps.length ?? 0;
    byId("undo").disabled = steps === 0;
    byId("clear").disabled = !mask || mask.empty;
    byId("find").disabled = !mask || this.finding;
    byId("mask-note").textContent = this.note(mask);
    if (!mask?.canvas) shown.replaceChildren();
    else if (shown.firstChild !== mask.canvas) shown.replaceChildren(mask.canvas);
  }

  /** @param {import("./mask.js").Mask | null} mask */
  note(mask) {
    if (this.obstacle) return this.obstacle;
    if (!mask) return "It can be painted once the picture can be seen.";
    return mask.empty ? "Nothing is painted: the whole picture may be repaired." : "Only what is painted is repaired.";
  }

  finding = false;

  async find() {
    const { photo } = this.photos;
    if (!photo?.mask || this.finding) return;
    this.finding = true;
    byId("find").lastElementChild.textContent = "Looking for damage…";
    photo.refusal = null;
    this.photos.changed(photo);
    let again = false;
    try {
      const share = await findDamage(photo);
      say(share ? `Damage is found on ${percent(share)} of the picture.` : "No damage is found.");
    } catch (error) {
      photo.refusal = asRefusal(error);
      again = photo.refusal.status === 401 && (await askForKey());
    }
    this.finding = false;
    byId("find").lastElementChild.textContent = "Find damage";
    this.photos.changed(photo);
    if (again) await this.find();
  }

  /** @returns {Tool} */
  tool() {
    const ring = byId("ring");
    let begun = false;
    return {
      cursor: "none",
      help: "Arrow keys move a cross, with Shift further. Enter paints or erases there. Plus and minus change the size, U undoes.",
      cross: true,
      down: (place) => {
        if (!this.mask) return;
        begun = true;
        this.mask.add({ kind: "stroke", erase: this.erasing, radius: this.radius / this.view.scale, points: [place] });
        this.draw();
      },
      move: (place) => {
        if (begun) this.mask?.extend(place);
      },
      up: () => {
        begun = false;
        if (this.photos.photo) this.photos.changed(this.photos.photo);
      },
      cancel: () => {
        if (begun) this.mask?.undo();
        begun = false;
        this.draw();
      },
      hover: (place) => {
        ring.hidden = !place;
        if (!place) return;
        ring.style.width = ring.style.height = `${2 * this.radius}px`;
        ring.style.transform = `translate(${place.x - this.radius}px, ${place.y - this.radius}px)`;
      },
      key: (key) => {
        if (key.toLowerCase() !== "u") return false;
        this.change((mask) => mask.steps.length && mask.undo(), "Undone.");
        return true;
      },
    };
  }
}

/** @param {number} share */
const percent = (share) => (share < 0.01 ? "less than 1 %" : `${Math.round(100 * share)} %`);
