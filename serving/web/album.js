/** A zip of photographs that the service works on by itself: sent once, then asked after until it is done. */

import { ask, post } from "./api.js";
import { askForKey } from "./key.js";
import { say } from "./live.js";
import { asRefusal, Refusal } from "./refusal.js";

const PAUSE = 1000; // milliseconds between two questions
const LOST = 30; // questions without an answer, one after the other, before it is given up

/**
 * What the service says of an album.
 * @typedef {object} State
 * @property {string} id
 * @property {"queued" | "working" | "done"} state
 * @property {string} waiting
 * @property {number} total
 * @property {number} done
 * @property {number} refused
 * @property {number} failed
 * @property {{name: string, state: "queued" | "working" | "done" | "refused" | "failed", reason: string}[]} photographs
 */

let last = 0;

export class Album {
  kind = /** @type {const} */ ("album");
  number = (last += 1);
  /** @type {import("./photo.js").Status} */
  status = "ready";
  sent = 0;
  seconds = 0;
  /** @type {Refusal | null} */
  refusal = null;
  /** @type {State | null} */
  state = null;
  thumbnail = null;
  /** @type {AbortController | null} */
  stopper = null;

  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name;
  }

  get busy() {
    return ["sending", "working", "pausing"].includes(this.status);
  }

  /** Stop it here and at the service. */
  forget() {
    this.stopper?.abort();
    if (this.state) void ask("DELETE", `v1/albums/${this.state.id}`).catch(() => {});
    this.state = null;
  }
}

/**
 * Send the album and follow it to its end.
 * @param {Album} album
 * @param {import("./request.js").Wish} wish of which an album takes the task and the format
 * @param {() => void} changed
 */
export async function reviveAlbum(album, wish, changed) {
  album.forget();
  const stopper = new AbortController();
  Object.assign(album, { stopper, refusal: null, sent: 0 });
  const set = (/** @type {import("./photo.js").Status} */ status) => {
    if (stopper.signal.aborted) return;
    album.status = status;
    changed();
  };
  set("sending");
  try {
    album.state = await send(album, wish, stopper.signal, (share) => {
      album.sent = share;
      set(share < 1 ? "sending" : "working");
    });
    while (album.state && album.state.state !== "done") {
      set("working");
      await pause(PAUSE, stopper.signal);
      album.state = await asked(album.state.id, stopper.signal);
    }
    set("done");
    say(`The album ${album.name} is done.`);
  } catch (error) {
    if (stopper.signal.aborted) {
      Object.assign(album, { status: "ready" });
      changed();
      return;
    }
    const refusal = asRefusal(error);
    album.refusal = refusal;
    if (refusal.retryAfter !== null && !album.state)
      await again(album, wish, changed, refusal.retryAfter, stopper.signal);
    else set("refused");
    if (refusal.status === 401 && (await askForKey())) await reviveAlbum(album, wish, changed);
  }
}

/** @param {Album} album @returns {Promise<Blob>} the zip of what was made */
export async function zipOf(album) {
  const { id } = /** @type {State} */ (album.state);
  return (await ask("GET", `v1/albums/${id}/photos.zip`)).blob();
}

/**
 * @param {Album} album
 * @param {import("./request.js").Wish} wish
 * @param {AbortSignal} signal
 * @param {(share: number) => void} sent
 * @returns {Promise<State>}
 */
async function send(album, wish, signal, sent) {
  const form = new FormData();
  form.append("album", album.file, album.name);
  const answer = await post("v1/albums", { task: wish.task, format: wish.format }, form, { sent, signal });
  return JSON.parse(await answer.blob.text());
}

/** A service that is away for a while keeps its albums. @param {string} id @param {AbortSignal} signal @returns {Promise<State>} */
async function asked(id, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await (await ask("GET", `v1/albums/${id}`)).json();
    } catch (error) {
      // "unknown": while the service starts, its proxy answers 404 in plain text.
      const passing =
        error instanceof Refusal && (error.code === "unknown" || [0, 429, 500, 502, 503, 504].includes(error.status));
      if (!passing || tries === LOST) throw error;
      await pause(2 * PAUSE, signal);
    }
  }
}

/**
 * @param {Album} album
 * @param {import("./request.js").Wish} wish
 * @param {() => void} changed
 * @param {number} seconds
 * @param {AbortSignal} signal
 */
async function again(album, wish, changed, seconds, signal) {
  album.status = "pausing";
  for (album.seconds = Math.max(1, seconds); album.seconds > 0; album.seconds -= 1) {
    changed();
    await pause(1000, signal).catch(() => {});
    if (signal.aborted) return;
  }
  await reviveAlbum(album, wish, changed);
}

/** @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")), { once: true });
  });
}
