/** The colours that things in photographs usually have, at a given lightness. */

import { fitToGamut } from "./color.js";

/** @typedef {import("./color.js").Triple} Triple */
/** @typedef {{name: string, lab: Triple}} Colour */

const SHOWN = 12;

/** Name, usual L, a, b; in the order in which they are shown, around the hues. @type {[string, number, number, number][]} */
const THINGS = [
  ["grey", 50, 0, 0],
  ["cream", 92, 0, 12],
  ["fair skin", 74, 13, 18],
  ["skin", 58, 16, 23],
  ["dark skin", 38, 14, 21],
  ["lips", 48, 34, 15],
  ["pink", 76, 26, 3],
  ["red cloth", 42, 56, 36],
  ["burgundy", 26, 37, 15],
  ["brick", 45, 31, 28],
  ["orange", 66, 36, 56],
  ["auburn hair", 34, 20, 25],
  ["brown hair", 25, 8, 13],
  ["fair hair", 68, 5, 28],
  ["dark wood", 29, 12, 19],
  ["wood", 50, 14, 30],
  ["earth", 38, 9, 18],
  ["stone", 62, 1, 7],
  ["sand", 78, 3, 21],
  ["straw", 76, 2, 39],
  ["gold", 66, 8, 55],
  ["yellow", 86, -3, 62],
  ["olive", 43, -6, 28],
  ["grass", 56, -27, 42],
  ["leaves", 43, -22, 31],
  ["pine", 28, -15, 11],
  ["mint", 84, -19, 8],
  ["sea", 49, -17, -18],
  ["pale sky", 84, -6, -14],
  ["sky", 70, -6, -28],
  ["deep sky", 54, 1, -41],
  ["denim", 40, 0, -25],
  ["navy", 20, 8, -29],
  ["lavender", 70, 13, -19],
  ["violet", 38, 29, -34],
];

/**
 * @param {number} lightness L of the pixel, from 0 to 100
 * @returns {Colour[]} what is likeliest to be so light, as sRGB can hold it at that lightness
 */
export function likely(lightness) {
  const nearest = THINGS.map(([name, usual, a, b], order) => ({
    name,
    a,
    b,
    order,
    far: name === "grey" ? -1 : Math.abs(usual - lightness),
  }))
    .sort((one, other) => one.far - other.far)
    .slice(0, SHOWN)
    .sort((one, other) => one.order - other.order);
  return nearest.map(({ name, a, b }) => ({ name, lab: fitToGamut([lightness, a, b]) }));
}

/**
 * @param {number} lightness
 * @param {number} a
 * @param {number} b
 * @returns {string} what usually has this colour, else its hue
 */
export function nameOf(lightness, a, b) {
  const far = (/** @type {Colour} */ { lab }) => Math.hypot(lab[1] - a, lab[2] - b);
  const nearest = likely(lightness).reduce((best, colour) => (far(colour) < far(best) ? colour : best));
  return far(nearest) < 6 ? nearest.name : hue(a, b);
}

/** Where each hue ends, degrees of Lab's plane of a and b. @type {[number, string][]} */
const HUES = [
  [18, "pink"],
  [52, "red"],
  [80, "orange"],
  [103, "yellow"],
  [125, "yellow-green"],
  [168, "green"],
  [225, "teal"],
  [288, "blue"],
  [318, "violet"],
  [345, "purple"],
  [360, "pink"],
];

/**
 * @param {number} a
 * @param {number} b
 */
function hue(a, b) {
  const chroma = Math.hypot(a, b);
  if (chroma < 4) return "grey";
  const angle = ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360;
  const [, name] = HUES.find(([end]) => angle < end) ?? HUES[0];
  return chroma < 24 ? `muted ${name}` : name;
}
