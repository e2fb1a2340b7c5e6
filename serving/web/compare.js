/** Before and after beside each other: a line that is moved by hand or by keys, and a picture that is moved where it is larger than the stage. */

import { byId } from "./element.js";

/** @typedef {import("./view.js").View} View @typedef {import("./gestures.js").Tool} Tool */

const KEYS = /** @type {Record<string, number>} */ ({
  ArrowLeft: -2,
  ArrowDown: -2,
  ArrowRight: 2,
  ArrowUp: 2,
  PageDown: -10,
  PageUp: 10,
});

export class Compare {
  /** Where the line is, percent of the stage's width. */
  share = 50;
  /** @type {"both" | "before" | "after"} */
  shown = "before";
  slider = byId("slider");

  /** @param {View} view */
  constructor(view) {
    this.view = view;
    view.addEventListener("moved", () => this.draw());
    this.slider.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key in KEYS) this.slide(this.share + KEYS[event.key]);
      else if (event.key === "Home") this.slide(0);
      else if (event.key === "End") this.slide(100);
      else return;
      event.preventDefault();
    });
    this.slider.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) =>
      this.slider.setPointerCapture(event.pointerId),
    );
    this.slider.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (this.slider.hasPointerCapture(event.pointerId)) this.slideTo(view.onStage(event).x);
    });
  }

  /** @param {"both" | "before" | "after"} shown */
  show(shown) {
    if (shown === "both" && this.shown !== "both") this.share = 50;
    this.shown = shown;
    const both = shown === "both";
    byId("divider").hidden = byId("tag-before").hidden = byId("tag-after").hidden = !both;
    byId("after").hidden = shown === "before";
    this.draw();
  }

  /** @param {number} x on the stage */
  slideTo(x) {
    this.slide((100 * x) / this.view.stage.clientWidth);
  }

  /** @param {number} share */
  slide(share) {
    this.share = Math.min(Math.max(share, 0), 100);
    this.draw();
  }

  draw() {
    const { view, share } = this;
    const x = (share / 100) * view.stage.clientWidth;
    const left = this.shown === "both" ? Math.max(0, (x - view.x) / view.zoom) : 0;
    byId("after").style.clipPath = `inset(0 0 0 ${left}px)`;
    byId("divider").style.transform = `translateX(${x}px)`;
    this.slider.setAttribute("aria-valuenow", String(Math.round(share)));
    const before = Math.min(1, left / (view.width * view.whole));
    this.slider.setAttribute("aria-valuetext", `${Math.round(100 - 100 * before)} % of the picture is after`);
    byId("tag-before").style.opacity = String(Math.min(1, Math.max(0, (x - 80) / 30)));
    byId("tag-after").style.opacity = String(Math.min(1, Math.max(0, (view.stage.clientWidth - x - 70) / 30)));
  }

  /** @returns {Tool} */
  tool() {
    const { view } = this;
    /** @type {import("./view.js").Place | null} */
    let last = null;
    return {
      cursor: "grab",
      help: "Plus and minus change the size, arrow keys move a picture that is larger than its frame, 0 shows all of it.",
      cross: false,
      down: (_, onStage) => {
        last = onStage;
        view.stage.dataset.cursor = "grabbing";
        if (view.fits && this.shown === "both") this.slideTo(onStage.x);
      },
      move: (_, onStage) => {
        if (!last) return;
        if (!view.fits) view.move(onStage.x - last.x, onStage.y - last.y);
        else if (this.shown === "both") this.slideTo(onStage.x);
        last = onStage;
      },
      up: () => {
        last = null;
        view.stage.dataset.cursor = "grab";
      },
      cancel: () => {
        last = null;
        view.stage.dataset.cursor = "grab";
      },
      hover: () => {},
    };
  }
}
