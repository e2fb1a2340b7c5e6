/** The picture on the stage: which one, how large, and where. */

import { byId } from "./element.js";

const MOST = 8; // screen pixels for one of the picture, at the largest
const STEP = 1.25;

/** @typedef {{x: number, y: number}} Place */

/** Tells "moved" whenever the picture has another place or size on the stage. */
export class View extends EventTarget {
  stage = byId("stage");
  picture = byId("picture");
  /** Pixels of the upright photograph. */
  width = 1;
  height = 1;
  /** Screen pixels for one of the photograph, at which all of it is seen. */
  whole = 1;
  /** How many times larger than that it is shown. */
  zoom = 1;
  /** Of the picture's top left corner on the stage, screen pixels. */
  x = 0;
  y = 0;

  constructor() {
    super();
    new ResizeObserver(() => this.fit()).observe(this.stage);
    byId("zoom-in").addEventListener("click", () => this.zoomBy(STEP));
    byId("zoom-out").addEventListener("click", () => this.zoomBy(1 / STEP));
    byId("zoom-fit").addEventListener("click", () => this.fit());
    this.stage.addEventListener(
      "wheel",
      (/** @type {WheelEvent} */ event) => {
        // On a page that scrolls, only a pinch (which browsers report as Ctrl and wheel) may not scroll it.
        if (!event.ctrlKey && this.fits && document.documentElement.scrollHeight > innerHeight) return;
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), this.onStage(event));
      },
      { passive: false },
    );
  }

  get scale() {
    return this.whole * this.zoom;
  }

  get fits() {
    return this.zoom < 1.001;
  }

  /** @param {number} width @param {number} height of another photograph */
  size(width, height) {
    if (width === this.width && height === this.height) return;
    [this.width, this.height] = [width, height];
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth || !clientHeight) return;
    this.whole = Math.min(clientWidth / this.width, clientHeight / this.height);
    this.zoom = 1;
    this.picture.style.width = `${this.width * this.whole}px`;
    this.picture.style.height = `${this.height * this.whole}px`;
    this.place((clientWidth - this.width * this.whole) / 2, (clientHeight - this.height * this.whole) / 2);
  }

  /** @param {number} factor @param {Place} [at] the place on the stage that stays where it is; else the middle */
  zoomBy(factor, at = { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 }) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), Math.max(1, MOST / this.whole));
    const change = zoom / this.zoom;
    this.zoom = zoom;
    this.place(at.x - (at.x - this.x) * change, at.y - (at.y - this.y) * change);
  }

  /** @param {number} right @param {number} down screen pixels */
  move(right, down) {
    this.place(this.x + right, this.y + down);
  }

  /** @param {number} x @param {number} y */
  place(x, y) {
    this.x = kept(x, this.width * this.scale, this.stage.clientWidth);
    this.y = kept(y, this.height * this.scale, this.stage.clientHeight);
    this.picture.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    this.picture.style.setProperty("--zoom", String(this.zoom));
    this.stage.dataset.fits = String(this.fits);
    byId("zoom-level").value = `${Math.round(100 * this.scale * devicePixelRatio)} %`;
    this.dispatchEvent(new Event("moved"));
  }

  /** @param {{clientX: number, clientY: number}} event @returns {Place} screen pixels from the stage's corner */
  onStage({ clientX, clientY }) {
    const box = this.stage.getBoundingClientRect();
    return { x: clientX - box.left, y: clientY - box.top };
  }

  /** @param {Place} place on the stage @returns {Place} pixels of the photograph, also outside of it */
  onPicture({ x, y }) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /** @param {Place} place of the photograph @returns {Place} on the stage */
  fromPicture({ x, y }) {
    return { x: this.x + x * this.scale, y: this.y + y * this.scale };
  }

  /** @param {Place} place of the photograph */
  inside({ x, y }) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }
}

/** A picture smaller than the stage is in its middle; a larger one leaves no gap. @param {number} at @param {number} length @param {number} room */
function kept(at, length, room) {
  return length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, at));
}
