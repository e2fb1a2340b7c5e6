/** What is destroyed in a photograph, as strokes over what was found; undone by painting again all but the last. */

import { maskPng } from "./png.js";

const MOST = 4_000_000; // pixels of the canvas: a phone can hold it, and a mask needs no finer edge
const COLOUR = "#ff3d71";

/**
 * @typedef {{kind: "stroke", erase: boolean, radius: number, points: {x: number, y: number}[]}} Stroke pixels of the photograph
 * @typedef {Stroke | {kind: "found", bitmap: ImageBitmap} | {kind: "clear"}} Step
 */

export class Mask {
  /** @type {Step[]} */
  steps = [];

  /** @param {number} width of the photograph, pixels @param {number} height */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.scale = Math.min(1, Math.sqrt(MOST / (width * height)));
  }

  /** Made when it is painted on: it is large, and most photographs have none. @type {HTMLCanvasElement | null} */
  canvas = null;
  /** Changes whenever the mask does. */
  version = 0;

  get context() {
    if (!this.canvas) {
      this.canvas = document.createElement("canvas");
      this.canvas.width = Math.max(1, Math.round(this.width * this.scale));
      this.canvas.height = Math.max(1, Math.round(this.height * this.scale));
    }
    return /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { willReadFrequently: true }));
  }

  /** @param {Step} step */
  add(step) {
    this.steps.push(step);
    this.draw(step);
  }

  /** @param {{x: number, y: number}} point the newest stroke goes on to */
  extend(point) {
    const stroke = this.steps.at(-1);
    if (stroke?.kind !== "stroke") return;
    stroke.points.push(point);
    this.draw({ ...stroke, points: stroke.points.slice(-2) });
  }

  undo() {
    this.steps.pop();
    const { context } = this;
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    for (const step of this.steps) this.draw(step);
    this.version += 1;
  }

  get empty() {
    const last = this.steps.findLastIndex((step) => step.kind === "clear");
    return this.steps.slice(last + 1).every((step) => step.kind === "stroke" && step.erase);
  }

  /** @returns {Promise<Blob>} white where it is painted, of the photograph's size */
  png() {
    const { context } = this;
    return maskPng(this.width, this.height, context.getImageData(0, 0, context.canvas.width, context.canvas.height));
  }

  /** @param {Step} step */
  draw(step) {
    this.version += 1;
    const { context } = this;
    const { canvas } = context;
    if (step.kind === "clear") context.clearRect(0, 0, canvas.width, canvas.height);
    else if (step.kind === "found") context.drawImage(step.bitmap, 0, 0, canvas.width, canvas.height);
    else this.stroke(step);
  }

  /** @param {Stroke} stroke */
  stroke({ erase, radius, points }) {
    const { context, scale } = this;
    context.save();
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = COLOUR;
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = Math.max(1, 2 * radius * scale);
    context.beginPath();
    context.moveTo(points[0].x * scale, points[0].y * scale);
    // A click is a line without a length, which browsers do not draw.
    for (const point of points) context.lineTo(point.x * scale + 0.01, point.y * scale);
    context.stroke();
    context.restore();
  }
}

/**
 * A mask from the service as something that can be painted over.
 * @param {Blob} png white where the photograph is destroyed
 * @param {Mask} mask that it is for
 * @returns {Promise<{bitmap: ImageBitmap, share: number}>} and how much of the picture is destroyed, from 0 to 1
 */
export async function found(png, mask) {
  const { width, height } = mask.context.canvas;
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(await createImageBitmap(png), 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(COLOUR.slice(at, at + 2), 16));
  let destroyed = 0;
  for (let at = 0; at < pixels.data.length; at += 4) {
    const white = pixels.data[at] >= 128;
    destroyed += Number(white);
    pixels.data.set([red, green, blue, white ? 255 : 0], at);
  }
  context.putImageData(pixels, 0, 0);
  return { bitmap: canvas.transferToImageBitmap(), share: destroyed / (width * height) };
}
