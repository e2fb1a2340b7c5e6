/** The API key, where the service wants one: kept in this tab's session storage and nowhere else. */

import { byId } from "./element.js";

const NAME = "autochrome.key";

export const theKey = () => sessionStorage.getItem(NAME) ?? "";

/** Tells "given" when there is a new key. */
export const keys = new EventTarget();

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * Ask for the key; who asks while it is being asked for waits for the same answer.
 * @returns {Promise<boolean>} whether there is a new key now
 */
export function askForKey() {
  asking ??= asked().finally(() => (asking = null));
  return asking;
}

/** @returns {Promise<boolean>} */
function asked() {
  const dialog = byId("key-dialog");
  const field = byId("key");
  byId("key-words").textContent = theKey()
    ? "The key that this tab has was not taken. Is it complete?"
    : "It is kept in this tab until you close it, and sent to this service only.";
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const key = field.value.trim();
        field.value = "";
        const given = dialog.returnValue === "use" && key !== "";
        if (given) sessionStorage.setItem(NAME, key);
        if (given) keys.dispatchEvent(new Event("given"));
        resolve(given);
      },
      { once: true },
    );
  });
}
