/** What a screen reader says of things that happen by themselves. */

import { byId } from "./element.js";

/** @param {string} words said when the reader is free; the last one wins */
export function say(words) {
  byId("live").textContent = words;
}
