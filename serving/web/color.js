/** sRGB <-> CIE Lab (D65, 2 degrees) with the numbers of the service's models/color.py. */

/** @typedef {[number, number, number]} Triple */

const TO_XYZ = [
  [0.412453, 0.35758, 0.180423],
  [0.212671, 0.71516, 0.072169],
  [0.019334, 0.119193, 0.950227],
];
const TO_RGB = [
  [3.2404813432, -1.5371515163, -0.4985363262],
  [-0.96925495, 1.8759900015, 0.0415559266],
  [0.0556466391, -0.2040413384, 1.0573110696],
];
const WHITE = [0.95047, 1, 1.08883];
const AB = 110; // the largest a or b that a hint may have
const SLACK = 5e-5; // how far outside [0, 1] linear light may be and still count as inside

/**
 * @param {Triple} rgb from 0 to 255
 * @returns {Triple} L in [0, 100], a and b
 */
export function rgbToLab(rgb) {
  const linear = rgb.map((value) => {
    const v = value / 255;
    return v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92;
  });
  const [x, y, z] = mix(linear, TO_XYZ).map((value, i) => root(value / WHITE[i]));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/**
 * @param {Triple} lab
 * @returns {Triple} sRGB from 0 to 255, rounded and clamped
 */
export function labToRgb(lab) {
  return /** @type {Triple} */ (
    linearRgb(lab).map((value) => {
      const v = Math.min(Math.max(value, 0), 1);
      return Math.round(255 * (v > 0.0031308 ? 1.055 * v ** (1 / 2.4) - 0.055 : v * 12.92));
    })
  );
}

/**
 * a and b shrunk together toward grey until sRGB holds the colour at its own lightness.
 * @param {Triple} lab
 * @returns {Triple}
 */
export function fitToGamut([lightness, a, b]) {
  const most = Math.min(1, AB / Math.max(Math.abs(a), Math.abs(b), 1e-9));
  const at = (/** @type {number} */ share) => /** @type {Triple} */ ([lightness, a * share, b * share]);
  if (inGamut(at(most))) return at(most);
  let [low, high] = [0, most];
  for (let step = 0; step < 12; step += 1) {
    const middle = (low + high) / 2;
    if (inGamut(at(middle))) low = middle;
    else high = middle;
  }
  return at(low);
}

/** @param {Triple} lab */
const inGamut = (lab) => linearRgb(lab).every((value) => value >= -SLACK && value <= 1 + SLACK);

/** @param {Triple} lab */
export const css = (lab) => `rgb(${labToRgb(lab).join(" ")})`;

/**
 * @param {string} hex such as #8a6642
 * @returns {Triple}
 */
export const hexToRgb = (hex) => /** @type {Triple} */ ([1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/** @param {Triple} rgb */
export const rgbToHex = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/** @param {Triple} lab */
function linearRgb([lightness, a, b]) {
  const y = (lightness + 16) / 116;
  return mix(
    [y + a / 500, y, y - b / 200].map((f, i) => cube(f) * WHITE[i]),
    TO_RGB,
  );
}

/**
 * @param {number[]} channels
 * @param {number[][]} matrix
 */
const mix = (channels, matrix) => matrix.map((row) => row.reduce((sum, weight, i) => sum + weight * channels[i], 0));

/** @param {number} t */
const root = (t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);

/** @param {number} f */
const cube = (f) => (f > 0.2068966 ? f ** 3 : (f - 16 / 116) / 7.787);
