/** Fingers, mouse and keys on the stage, for the tool that is chosen. */

import { byId } from "./element.js";

/** @typedef {import("./view.js").Place} Place @typedef {import("./view.js").View} View */

/**
 * What one finger, the mouse or the keys' cross do. Places are pixels of the photograph.
 * @typedef {object} Tool
 * @property {string} cursor
 * @property {string} help for the keyboard, said with the picture's name
 * @property {boolean} cross whether arrow keys move a cross that Enter uses the tool at
 * @property {(place: Place, onStage: Place) => void} down
 * @property {(place: Place, onStage: Place) => void} move
 * @property {() => void} up
 * @property {() => void} cancel a second finger came: what the first began was not meant
 * @property {(onStage: Place | null) => void} hover
 * @property {(key: string) => boolean} [key] whether it took the key
 */

/** Right and down. */
export const ARROWS = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
});
const STEP = 8; // screen pixels
const LEAP = 48; // with Shift

export class Gestures {
  /** @type {Map<number, Place>} where each finger is, on the stage */
  fingers = new Map();
  using = false;
  /** @type {Place | null} of the keys' cross, pixels of the photograph */
  cross = null;

  /** @param {View} view @param {Tool} tool */
  constructor(view, tool) {
    this.view = view;
    this.tool = tool;
    const { stage } = view;
    stage.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => this.down(event));
    stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.move(event));
    for (const type of ["pointerup", "pointercancel"]) {
      stage.addEventListener(type, (/** @type {PointerEvent} */ event) => this.up(event));
    }
    stage.addEventListener("pointerleave", () => this.tool.hover(null));
    stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.target === stage && !event.ctrlKey && !event.metaKey && !event.altKey && this.key(event))
        event.preventDefault();
    });
    stage.addEventListener("blur", () => this.showCross(null));
    view.addEventListener("moved", () => this.showCross(this.cross));
  }

  /** @param {Tool} tool */
  use(tool) {
    this.tool.hover(null);
    this.tool = tool;
    this.view.stage.dataset.cursor = tool.cursor;
    byId("stage-help").textContent = tool.help;
    this.showCross(null);
  }

  /** @param {PointerEvent} event */
  down(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.button !== 0 || target.closest("#slider, .hint button, .zoom")) return;
    this.view.stage.setPointerCapture(event.pointerId);
    const place = this.view.onStage(event);
    this.fingers.set(event.pointerId, place);
    if (this.fingers.size > 1 && this.using) {
      this.tool.cancel();
      this.using = false;
    } else if (this.fingers.size === 1) {
      this.using = true;
      this.showCross(null);
      this.tool.down(this.view.onPicture(place), place);
    }
  }

  /** @param {PointerEvent} event */
  move(event) {
    const place = this.view.onStage(event);
    const before = this.fingers.get(event.pointerId);
    const aside = !before && /** @type {Element} */ (event.target).closest(".zoom");
    if (event.pointerType === "mouse" || before) this.tool.hover(aside ? null : place);
    if (!before) return;
    if (this.fingers.size === 2) this.pinch(event.pointerId, before, place);
    this.fingers.set(event.pointerId, place);
    if (this.using) this.tool.move(this.view.onPicture(place), place);
  }

  /** @param {PointerEvent} event */
  up(event) {
    if (!this.fingers.delete(event.pointerId) || !this.using) return;
    this.using = false;
    if (event.type === "pointercancel") this.tool.cancel();
    else this.tool.up();
    if (event.pointerType !== "mouse") this.tool.hover(null);
  }

  /** Two fingers move the picture and make it larger. @param {number} id @param {Place} before @param {Place} now */
  pinch(id, before, now) {
    const [, other] = /** @type {[number, Place]} */ ([...this.fingers].find(([finger]) => finger !== id));
    const apart = (/** @type {Place} */ place) => Math.max(1, Math.hypot(place.x - other.x, place.y - other.y));
    this.view.move((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.view.zoomBy(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it meant something */
  key({ key, shiftKey }) {
    if (this.tool.key?.(key)) return true;
    if (key === "+" || key === "=") this.view.zoomBy(1.25);
    else if (key === "-") this.view.zoomBy(0.8);
    else if (key === "0") this.view.fit();
    else if (key in ARROWS) this.arrow(ARROWS[key], shiftKey ? LEAP : STEP);
    else if (this.tool.cross && (key === "Enter" || key === " ")) this.press();
    else return false;
    return true;
  }

  /** @param {[number, number]} direction @param {number} step screen pixels */
  arrow([right, down], step) {
    if (!this.tool.cross) {
      this.view.move(-right * LEAP, -down * LEAP);
      return;
    }
    const { width, height, scale } = this.view;
    const { x, y } = this.cross ?? { x: width / 2, y: height / 2 };
    const within = (/** @type {number} */ at, /** @type {number} */ most) => Math.min(Math.max(at, 0), most - 1e-3);
    this.showCross({ x: within(x + (right * step) / scale, width), y: within(y + (down * step) / scale, height) });
  }

  press() {
    if (!this.cross) this.arrow([0, 0], 0);
    const place = /** @type {Place} */ (this.cross);
    this.tool.down(place, this.view.fromPicture(place));
    this.tool.up();
    this.showCross(place);
  }

  /** @param {Place | null} place pixels of the photograph */
  showCross(place) {
    this.cross = place;
    const mark = byId("crosshair");
    mark.hidden = !place;
    if (!place) return;
    const { x, y } = this.view.fromPicture(place);
    mark.style.transform = `translate(${x}px, ${y}px)`;
  }
}
