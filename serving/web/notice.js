/** Below the picture: its name and size, what made it, and why it could not be made. */

import { byId, element } from "./element.js";
import { words } from "./strip.js";

/** @typedef {import("./photos.js").Item} Item */

const KINDS = /** @type {Record<string, string>} */ ({
  restorer: "repaired by",
  colorizer: "coloured by",
  detector: "damage found by",
});

/** @param {Item} item */
export function drawCaption(item) {
  const size = item.kind === "photo" && item.width ? `${item.width} × ${item.height}` : "";
  byId("caption").replaceChildren(item.name, element("span", { className: "soft" }, size && `  ${size}`));
  const made =
    item.kind === "photo" && item.result
      ? Object.entries(item.result.madeBy).map(([model, version]) => `${KINDS[model]} ${version}`)
      : [];
  byId("made-by").textContent =
    made.join(", ").replace(/^./, (letter) => letter.toUpperCase()) + (item.kind === "photo" ? unseen(item) : "");
}

/** @param {import("./photo.js").Photo} photo */
function unseen({ result, url }) {
  if (!result) return "";
  if (!result.url) return ". This browser cannot show it; it can be downloaded.";
  return url ? "" : ". This browser cannot show what it was before.";
}

/** @param {Item} item */
export function drawVeil(item) {
  const shown = item.kind === "photo" && item.busy;
  byId("veil").hidden = !shown;
  byId("stage").dataset.busy = String(shown);
  byId("veil-words").textContent = words(item);
}

/**
 * An alert is said when it changes, so it is left alone while only the seconds do.
 * @param {Item} item
 * @param {() => void} again
 */
export function drawNotice(item, again) {
  const notice = byId("notice");
  const { refusal } = item;
  notice.hidden = !refusal;
  if (!refusal) {
    notice.replaceChildren();
    notice.dataset.said = "";
    return;
  }
  const said = `${item.kind} ${item.number} ${item.status} ${refusal.plain} ${refusal.message}`;
  if (notice.dataset.said !== said) {
    notice.dataset.said = said;
    const button = element(
      "button",
      { type: "button", className: "button" },
      item.status === "pausing" ? "Try now" : "Try again",
    );
    button.addEventListener("click", again);
    notice.replaceChildren(
      element("strong", {}, refusal.plain),
      ...(refusal.message ? [element("span", {}, refusal.message)] : []),
      ...(item.status === "pausing" ? [element("span", { className: "countdown", "aria-live": "off" })] : []),
      element("p", { className: "pair" }, button),
    );
    notice.scrollIntoView({ block: "nearest" });
  }
  const countdown = notice.querySelector(".countdown");
  if (countdown) countdown.textContent = `It will be tried again in ${item.seconds} s.`;
}
