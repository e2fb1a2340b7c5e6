/** Requests to the service, all of them relative to where the page is. */

import { Refusal, refusalOf } from "./refusal.js";
import { theKey } from "./key.js";

/**
 * @typedef {object} Answer
 * @property {Blob} blob
 * @property {(name: string) => string | null} header
 */

/**
 * POST a form and follow its way up.
 *
 * @param {string} path such as "v1/revive"
 * @param {Record<string, string>} query
 * @param {FormData} form
 * @param {object} [more]
 * @param {Record<string, string>} [more.headers]
 * @param {(share: number) => void} [more.sent] how much of the form is there, from 0 to 1
 * @param {AbortSignal} [more.signal]
 * @returns {Promise<Answer>} rejected with a Refusal, or with an AbortError
 */
export function post(path, query, form, { headers = {}, sent, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let share = 0;
    request.open("POST", address(path, query));
    request.responseType = "blob";
    for (const [name, value] of Object.entries({ ...authorization(), ...headers }))
      request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      share = event.total ? event.loaded / event.total : 0;
      sent?.(share);
    });
    request.upload.addEventListener("load", () => sent?.((share = 1)));
    request.addEventListener("error", () => reject(unreachable(share)));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    request.addEventListener("load", async () => {
      const { status, response } = request;
      if (status >= 200 && status < 300) {
        resolve({ blob: response, header: (name) => request.getResponseHeader(name) });
      } else reject(refusalOf(status, await response.text(), request.getResponseHeader("Retry-After")));
    });
    signal?.throwIfAborted();
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/**
 * @param {"GET" | "DELETE"} method
 * @param {string} path
 * @returns {Promise<Response>} rejected with a Refusal
 */
export async function ask(method, path) {
  let response;
  try {
    response = await fetch(address(path, {}), { method, headers: authorization(), cache: "no-store" });
  } catch {
    throw unreachable(1);
  }
  if (!response.ok) throw refusalOf(response.status, await response.text(), response.headers.get("Retry-After"));
  return response;
}

/**
 * @param {string} path
 * @param {Record<string, string>} query
 */
function address(path, query) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}

/** @returns {Record<string, string>} */
function authorization() {
  const key = theKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/**
 * A service that refuses a body before it has all of it closes the line, and a browser then shows no answer.
 * @param {number} share of the form that had been sent
 */
function unreachable(share) {
  const message = share > 0 && share < 1 ? "The line was cut while the file was sent: it may be too large." : "";
  return new Refusal(0, "unreachable", message);
}
