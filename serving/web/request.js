/** What is asked of the service for one photograph, and what it answers. */

import { post } from "./api.js";
import { found } from "./mask.js";
import { decoded } from "./photo.js";

/** @typedef {import("./photo.js").Photo} Photo */

/**
 * @typedef {object} Wish
 * @property {"revive" | "restore" | "colorize"} task
 * @property {string} models X-Model's value; empty: what the service follows
 * @property {boolean} findDamage
 * @property {boolean} keepMetadata
 * @property {string} format of the file that is kept
 */

const MODELS = ["restorer", "colorizer", "detector"];
const SHOWN = ["png", "jpeg", "webp"]; // what browsers show

/**
 * @param {Photo} photo
 * @param {Wish} wish
 * @returns {string} the same for two requests that would be answered with the same picture, whatever its format
 */
export function signature(photo, { task, models, findDamage, keepMetadata }) {
  const mask = task !== "colorize" && photo.mask && !photo.mask.empty ? photo.mask.version : 0;
  const hints = task === "restore" ? [] : photo.hints;
  return JSON.stringify([task, models, task !== "colorize" && findDamage, keepMetadata, mask, hints]);
}

/**
 * Have the photograph done; its result is set when this ends.
 * @param {Photo} photo
 * @param {Wish} wish
 * @param {(share: number) => void} sent
 * @param {AbortSignal} signal
 * @returns {Promise<HTMLImageElement | null>} the picture; null where this browser cannot show it, which can be saved all the same
 */
export async function revive(photo, wish, sent, signal) {
  const format = SHOWN.includes(wish.format) ? wish.format : "png";
  const asked = signature(photo, wish);
  const form = await formOf(photo, wish);
  const answer = await post(`v1/${wish.task}`, query(wish, format), form, {
    headers: wish.models ? { "X-Model": wish.models } : {},
    sent,
    signal,
  });
  const image = await decoded(answer.blob);
  if (image && signal.aborted) URL.revokeObjectURL(image.src);
  signal.throwIfAborted();
  if (image) photo.measured(image.naturalWidth, image.naturalHeight);
  if (photo.result?.url) URL.revokeObjectURL(photo.result.url);
  const madeBy = Object.fromEntries(
    MODELS.map((model) => [model, answer.header(`X-${model}`)]).filter(([, version]) => version),
  );
  photo.result = { url: image?.src ?? null, files: new Map([[format, answer.blob]]), madeBy, wish, form, asked };
  return image;
}

/**
 * The result as a file of a format; what was not asked for in that format yet is asked for once more: with the mask and
 * the hints, and of the very versions, that made what is shown.
 * @param {Photo} photo
 * @param {string} format
 * @returns {Promise<Blob>}
 */
export async function fileOf(photo, format) {
  const result = /** @type {import("./photo.js").Result} */ (photo.result);
  const known = result.files.get(format);
  if (known) return known;
  const versions = Object.values(result.madeBy).join(",");
  const answer = await post(`v1/${result.wish.task}`, query(result.wish, format), result.form, {
    headers: { "X-Model": versions },
  });
  result.files.set(format, answer.blob);
  return answer.blob;
}

/**
 * What the service finds destroyed, added to the photograph's mask.
 * @param {Photo} photo whose size is known
 * @returns {Promise<number>} how much of the picture that is, from 0 to 1
 */
export async function findDamage(photo) {
  const mask = /** @type {import("./mask.js").Mask} */ (photo.mask);
  const sent = new FormData();
  sent.append("photo", photo.file, photo.name);
  const answer = await post("v1/mask", {}, sent);
  const { bitmap, share } = await found(answer.blob, mask);
  mask.add({ kind: "found", bitmap });
  return share;
}

/** @param {Wish} wish @param {string} format @returns {Record<string, string>} */
function query(wish, format) {
  return {
    format,
    ...(wish.findDamage && wish.task !== "colorize" ? { find_damage: "true" } : {}),
    ...(wish.keepMetadata ? { metadata: "keep" } : {}),
  };
}

/** @param {Photo} photo @param {Wish} wish */
async function formOf(photo, wish) {
  const made = new FormData();
  made.append("photo", photo.file, photo.name);
  if (wish.task !== "colorize" && photo.mask && !photo.mask.empty)
    made.append("mask", await photo.mask.png(), "mask.png");
  if (wish.task !== "restore" && photo.hints.length) made.append("hints", JSON.stringify(photo.hints));
  return made;
}
