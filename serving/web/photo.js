/** One photograph on the page: its file, what was painted and hinted on it, and what became of it. */

import { Mask } from "./mask.js";

/**
 * ready: nothing was asked yet; waiting: in the queue; sending, working: on its way; pausing: to be asked again.
 * @typedef {"ready" | "waiting" | "sending" | "working" | "pausing" | "done" | "refused"} Status
 * @typedef {import("./refusal.js").Refusal} Refusal
 */

/**
 * A colour wanted at a place, as the service takes it: pixels of the upright photograph and Lab units.
 * @typedef {{x: number, y: number, a: number, b: number, radius: number}} Hint
 */

/**
 * @typedef {object} Result
 * @property {string | null} url of the picture that is shown; null where this browser cannot show it
 * @property {Map<string, Blob>} files the picture in each format it was asked for in
 * @property {Record<string, string>} madeBy model -> exact version
 * @property {import("./request.js").Wish} wish what it was asked with
 * @property {FormData} form that was sent
 * @property {string} asked `signature` of the photograph and the wish at that time
 */

let last = 0;

export class Photo {
  kind = /** @type {const} */ ("photo");
  number = (last += 1);
  /** @type {Status} */
  status = "ready";
  /** Of the form that is sent, from 0 to 1. */
  sent = 0;
  /** Seconds until it is tried again. */
  seconds = 0;
  tries = 0;
  /** @type {Refusal | null} */
  refusal = null;
  /** @type {AbortController | null} */
  stopper = null;
  /** Pixels of the upright picture; 0 as long as nobody knows. */
  width = 0;
  height = 0;
  /** @type {HTMLCanvasElement | null} */
  thumbnail = null;
  /** Whether this browser has tried to show it. */
  looked = false;
  /** Of the picture as it was chosen; null where this browser cannot show it. @type {string | null} */
  url = null;
  /** @type {Mask | null} */
  mask = null;
  /** @type {Hint[]} */
  hints = [];
  /** @type {Result | null} */
  result = null;

  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name || "pasted.png";
  }

  /** Whether something is being done with it. */
  get busy() {
    return ["waiting", "sending", "working", "pausing"].includes(this.status);
  }

  /** What is shown when nothing is compared: the newest there is. */
  get newest() {
    return this.result?.url ?? this.url;
  }

  /** @param {number} width @param {number} height pixels, as soon as a picture of its size is seen */
  measured(width, height) {
    if (this.width) return;
    [this.width, this.height] = [width, height];
    this.mask = new Mask(width, height);
  }

  /** Let go of what the browser holds for it. */
  forget() {
    this.stopper?.abort();
    if (this.url) URL.revokeObjectURL(this.url);
    if (this.result?.url) URL.revokeObjectURL(this.result.url);
  }
}

/**
 * Look at the picture once: its size, a small copy for the strip, or that this browser cannot show it.
 * @param {Photo} photo
 */
export async function look(photo) {
  const image = await decoded(photo.file);
  photo.looked = true;
  if (!image) return;
  photo.url = image.src;
  photo.measured(image.naturalWidth, image.naturalHeight);
  photo.thumbnail = shrunk(image);
}

/**
 * @param {Blob} file
 * @returns {Promise<HTMLImageElement | null>} whose src is to be revoked some time; null where this browser cannot show it
 */
export async function decoded(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    return image;
  } catch {
    URL.revokeObjectURL(image.src);
    return null;
  }
}

/** @param {HTMLImageElement} image @param {number} side pixels of the small copy's square */
export function shrunk(image, side = 176) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const scale = side / Math.min(width, height);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(image, (side - width * scale) / 2, (side - height * scale) / 2, width * scale, height * scale);
  return canvas;
}
