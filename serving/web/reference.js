/** Taking a colour from another photograph, which stays in this browser. */

import { css } from "./color.js";
import { byId } from "./element.js";
import { ARROWS } from "./gestures.js";
import { nameOf } from "./palette.js";
import { decoded } from "./photo.js";
import { labAt } from "./sample.js";

/** @typedef {import("./color.js").Triple} Triple */

const MOST = 1600; // pixels of the longer side

/** Where the cross is, pixels of the picture. */
const at = { x: 0, y: 0 };
/** @type {((lab: Triple | null) => void) | null} */
let answer = null;

/** @returns {Promise<Triple | null>} the colour that is picked; null where the window is closed without one */
export function askReference() {
  const dialog = byId("reference-dialog");
  dialog.showModal();
  return new Promise((resolve) => {
    answer = resolve;
    dialog.addEventListener("close", () => resolve(null), { once: true });
  });
}

export function prepareReference() {
  const stage = byId("reference-stage");
  byId("reference-close").addEventListener("click", () => byId("reference-dialog").close());
  byId("reference-file").addEventListener("change", () => void open(byId("reference-file").files[0]));
  stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => point(event));
  stage.addEventListener("click", (/** @type {PointerEvent} */ event) => {
    point(event);
    take();
  });
  stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key in ARROWS) {
      const step = event.shiftKey ? 32 : 4;
      move(at.x + ARROWS[event.key][0] * step, at.y + ARROWS[event.key][1] * step);
    } else if (event.key === "Enter" || event.key === " ") take();
    else return;
    event.preventDefault();
  });
}

/** @param {File | undefined} file */
async function open(file) {
  if (!file) return;
  const image = await decoded(file);
  if (!image) {
    byId("reference-chosen").hidden = false;
    byId("reference-name").textContent = "This browser cannot show that file.";
    return;
  }
  const canvas = byId("reference-picture");
  const scale = Math.min(1, MOST / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  byId("reference-stage").hidden = byId("reference-chosen").hidden = false;
  move(canvas.width / 2, canvas.height / 2);
}

/** @param {PointerEvent} event */
function point(event) {
  const canvas = byId("reference-picture");
  const box = canvas.getBoundingClientRect();
  move(
    ((event.clientX - box.left) * canvas.width) / box.width,
    ((event.clientY - box.top) * canvas.height) / box.height,
  );
}

/** @param {number} x @param {number} y */
function move(x, y) {
  const canvas = byId("reference-picture");
  at.x = Math.min(Math.max(x, 0), canvas.width - 1);
  at.y = Math.min(Math.max(y, 0), canvas.height - 1);
  const box = canvas.getBoundingClientRect();
  const stage = byId("reference-stage").getBoundingClientRect();
  const cross = byId("reference-cross");
  cross.style.left = `${box.left - stage.left + (at.x * box.width) / canvas.width}px`;
  cross.style.top = `${box.top - stage.top + (at.y * box.height) / canvas.height}px`;
  const lab = labAt(canvas, at.x, at.y);
  byId("reference-swatch").style.backgroundColor = css(lab);
  byId("reference-name").textContent = nameOf(...lab);
}

function take() {
  answer?.(labAt(byId("reference-picture"), at.x, at.y));
  byId("reference-dialog").close();
}
