/** Pictures to this person's disk: one, or all in a zip. */

import { zipOf } from "./album.js";
import { byId, element } from "./element.js";
import { say } from "./live.js";
import { asRefusal } from "./refusal.js";
import { fileOf } from "./request.js";
import { zip } from "./zip.js";

/** @typedef {import("./photo.js").Photo} Photo @typedef {import("./album.js").Album} Album */

const SUFFIXES = /** @type {Record<string, string>} */ ({ png: "png", jpeg: "jpg", tiff: "tif", webp: "webp" });

/**
 * @param {import("./photos.js").Photos} photos
 * @param {() => string} format in which pictures are kept
 */
export function prepareDownloads(photos, format) {
  byId("download").addEventListener("click", () => {
    const { current } = photos;
    if (current?.kind === "album")
      void during(byId("download"), current, photos, async () =>
        save(await zipOf(current), nameOf(current.name, "zip")),
      );
    else if (current)
      void during(byId("download"), current, photos, async () =>
        save(await fileOf(current, format()), nameOf(current.name, SUFFIXES[format()])),
      );
  });
  byId("download-all").addEventListener(
    "click",
    () =>
      void during(byId("download-all"), photos.current, photos, async () => {
        const files = [];
        for (const photo of photos.photos.filter(({ result }) => result)) {
          files.push({ name: nameOf(photo.name, SUFFIXES[format()]), blob: await fileOf(photo, format()) });
        }
        save(await zip(files), "autochrome.zip");
      }),
  );
}

/** @param {string} name @param {string} suffix */
const nameOf = (name, suffix) => `${name.replace(/\.[^.]*$/, "")}-autochrome.${suffix}`;

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  say(`${name} is saved.`);
}

/**
 * @param {HTMLButtonElement} button that waits meanwhile
 * @param {Photo | Album | null} item that is told what went wrong
 * @param {import("./photos.js").Photos} photos
 * @param {() => Promise<void>} work
 */
async function during(button, item, photos, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!item) return;
    item.refusal = asRefusal(error);
    photos.changed(item);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}
