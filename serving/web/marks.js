/** The hints as marks on the picture: buttons that are chosen, moved by hand or by keys, and removed. */

import { css } from "./color.js";
import { byId, element } from "./element.js";
import { ARROWS } from "./gestures.js";

/** @typedef {import("./photo.js").Hint} Hint */

/**
 * @typedef {object} Mark
 * @property {number} x pixels of the photograph
 * @property {number} y
 * @property {number} radius
 * @property {import("./color.js").Triple | null} lab null: no colour is chosen yet
 * @property {string} name
 */

/**
 * @typedef {object} Acts what is done with mark number `i`
 * @property {(i: number) => void} choose
 * @property {(i: number, place: import("./view.js").Place) => void} move
 * @property {() => void} moved
 * @property {(i: number) => void} remove
 */

export class Marks {
  layer = byId("hints");

  /** @param {import("./view.js").View} view @param {Acts} acts */
  constructor(view, acts) {
    this.view = view;
    this.acts = acts;
  }

  /** @param {Mark[]} marks @param {number} chosen @param {boolean} tinted whether the colours are laid over the picture */
  draw(marks, chosen, tinted) {
    const buttons = [...this.layer.querySelectorAll("button")];
    const focused = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    // A mark that is being dragged must stay the same element: pointers are captured by it.
    while (buttons.length > marks.length) buttons.pop()?.parentElement?.remove();
    while (buttons.length < marks.length) buttons.push(this.button(buttons.length));
    for (const tint of this.layer.querySelectorAll(".tint")) tint.remove();
    marks.forEach((mark, i) => {
      this.dress(buttons[i], mark, i, i === chosen);
      if (tinted && mark.lab) this.layer.prepend(this.tint(mark));
    });
    if (focused >= marks.length) (buttons.at(-1) ?? this.view.stage).focus();
  }

  /** @param {number} i @returns {HTMLButtonElement} */
  button(i) {
    const button = element("button", { type: "button" });
    button.addEventListener("click", () => this.acts.choose(i));
    button.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event, i));
    button.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      button.setPointerCapture(event.pointerId);
      this.acts.choose(i);
    });
    button.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (button.hasPointerCapture(event.pointerId)) this.moveTo(i, this.view.onPicture(this.view.onStage(event)));
    });
    button.addEventListener("pointerup", () => this.acts.moved());
    this.layer.append(element("div", { className: "hint" }, button));
    return button;
  }

  /** @param {HTMLButtonElement} button @param {Mark} mark @param {number} i @param {boolean} chosen */
  dress(button, mark, i, chosen) {
    const { width, height } = this.view;
    const place = /** @type {HTMLElement} */ (button.parentElement).style;
    place.left = `${(100 * mark.x) / width}%`;
    place.top = `${(100 * mark.y) / height}%`;
    button.classList.toggle("draft", !mark.lab);
    button.style.backgroundColor = mark.lab ? css(mark.lab) : "";
    button.setAttribute("aria-pressed", String(chosen));
    const [across, down] = [mark.x / width, mark.y / height].map((share) => Math.round(100 * share));
    button.setAttribute(
      "aria-label",
      `Colour hint ${i + 1}, ${mark.name}, ${across} % from the left, ${down} % from the top`,
    );
    button.title = mark.name;
  }

  /** @param {Mark} mark */
  tint({ x, y, radius, lab }) {
    const { width, height } = this.view;
    const tint = element("div", { className: "tint" });
    tint.style.left = `${(100 * (x - radius)) / width}%`;
    tint.style.top = `${(100 * (y - radius)) / height}%`;
    tint.style.width = `${(200 * radius) / width}%`;
    tint.style.height = `${(200 * radius) / height}%`;
    tint.style.backgroundColor = css(/** @type {import("./color.js").Triple} */ (lab));
    return tint;
  }

  /** @param {KeyboardEvent} event @param {number} i */
  key(event, i) {
    if (event.key === "Delete" || event.key === "Backspace") this.acts.remove(i);
    else if (event.key in ARROWS) {
      const [right, down] = ARROWS[event.key];
      const step = (event.shiftKey ? 32 : 4) / this.view.scale;
      const box = /** @type {HTMLElement} */ (event.currentTarget).parentElement?.style;
      const x = (parseFloat(box?.left ?? "0") / 100) * this.view.width;
      const y = (parseFloat(box?.top ?? "0") / 100) * this.view.height;
      this.moveTo(i, { x: x + right * step, y: y + down * step });
      this.acts.moved();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} i @param {import("./view.js").Place} place also outside of the picture */
  moveTo(i, { x, y }) {
    const within = (/** @type {number} */ at, /** @type {number} */ length) =>
      Math.min(Math.max(at, 0), length - 0.001);
    this.acts.move(i, { x: within(x, this.view.width), y: within(y, this.view.height) });
  }
}
