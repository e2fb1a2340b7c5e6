/** The colour of a place of a picture. */

import { rgbToLab } from "./color.js";

const REACH = 2; // pixels around the place that count too: one pixel is grain

/**
 * @param {HTMLImageElement | HTMLCanvasElement} picture
 * @param {number} x pixels of the picture
 * @param {number} y
 * @returns {import("./color.js").Triple} mean Lab of the place
 */
export function labAt(picture, x, y) {
  const side = 2 * REACH + 1;
  const canvas = new OffscreenCanvas(side, side);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(picture, Math.floor(x) - REACH, Math.floor(y) - REACH, side, side, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  const sum = [0, 0, 0];
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] < 128) continue; // beside the picture
    const lab = rgbToLab([data[at], data[at + 1], data[at + 2]]);
    lab.forEach((value, i) => (sum[i] += value));
    count += 1;
  }
  return /** @type {import("./color.js").Triple} */ (sum.map((value) => value / Math.max(1, count)));
}
