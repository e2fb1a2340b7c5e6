/** The photographs' way through the service: two at once, and patience where it is busy. */

import { askForKey } from "./key.js";
import { say } from "./live.js";
import { shrunk } from "./photo.js";
import { asRefusal } from "./refusal.js";
import { revive } from "./request.js";

/** @typedef {import("./photo.js").Photo} Photo @typedef {import("./request.js").Wish} Wish */

const AT_ONCE = 2;
const TRIES = 8; // of a photograph before it is given up

export class Queue {
  /** @type {{photo: Photo, wish: Wish}[]} */
  waiting = [];
  running = 0;
  /** When the service wants to be asked again, in the page's milliseconds. */
  resume = 0;

  /** @param {import("./photos.js").Photos} photos */
  constructor(photos) {
    this.photos = photos;
    photos.on(["removed"], (item) => this.leave(/** @type {Photo} */ (item)));
  }

  /** @param {Photo} photo @param {Wish} wish how it is to be done; one that is under way begins again */
  put(photo, wish) {
    this.stop(photo);
    photo.tries = 0;
    this.enter(photo, wish);
    this.go();
  }

  /** @param {Photo} photo that nothing more is to be done with */
  stop(photo) {
    photo.stopper?.abort();
    this.leave(photo);
    if (photo.busy) this.set(photo, photo.result ? "done" : "ready");
  }

  /** Try those that wait for a busy service now. */
  hurry() {
    this.resume = 0;
    this.go();
  }

  /** @param {Photo} photo @param {Wish} wish */
  enter(photo, wish) {
    photo.refusal = null;
    this.waiting.push({ photo, wish });
    this.set(photo, "waiting");
  }

  /** @param {Photo} photo */
  leave(photo) {
    this.waiting = this.waiting.filter((place) => place.photo !== photo);
  }

  /** @param {Photo} photo @param {import("./photo.js").Status} status */
  set(photo, status) {
    photo.status = status;
    this.photos.changed(photo);
  }

  go() {
    if (this.resume > performance.now()) return;
    while (this.running < AT_ONCE && this.waiting.length) {
      const { photo, wish } = /** @type {{photo: Photo, wish: Wish}} */ (this.waiting.shift());
      this.running += 1;
      void this.work(photo, wish).finally(() => {
        this.running -= 1;
        this.go();
      });
    }
  }

  /** @param {Photo} photo @param {Wish} wish */
  async work(photo, wish) {
    const stopper = new AbortController();
    photo.stopper = stopper;
    photo.refusal = null;
    photo.sent = 0;
    photo.tries += 1;
    this.set(photo, "sending");
    try {
      const image = await revive(photo, wish, (share) => this.follow(photo, stopper, share), stopper.signal);
      if (image) photo.thumbnail = shrunk(image);
      this.set(photo, "done");
      say(`${photo.name} is done.`);
    } catch (error) {
      if (stopper.signal.aborted) return;
      await this.refused(photo, wish, asRefusal(error));
    }
  }

  /** @param {Photo} photo @param {AbortController} stopper @param {number} share */
  follow(photo, stopper, share) {
    if (stopper.signal.aborted) return;
    photo.sent = share;
    this.set(photo, share < 1 ? "sending" : "working");
  }

  /** @param {Photo} photo @param {Wish} wish @param {import("./refusal.js").Refusal} refusal */
  async refused(photo, wish, refusal) {
    photo.refusal = refusal;
    if (refusal.retryAfter !== null && photo.tries < TRIES) {
      this.waiting.unshift({ photo, wish });
      this.set(photo, "pausing");
      this.pause(refusal.retryAfter);
      return;
    }
    this.set(photo, "refused");
    if (refusal.status === 401 && (await askForKey())) this.put(photo, wish);
  }

  /** @param {number} seconds */
  pause(seconds) {
    const counting = this.resume > performance.now();
    this.resume = Math.max(this.resume, performance.now() + 1000 * Math.max(1, seconds));
    if (!counting) this.count();
  }

  /** Shows the seconds that are left, and goes on when there are none. */
  count() {
    const left = Math.ceil((this.resume - performance.now()) / 1000);
    if (left <= 0) {
      this.go();
      return;
    }
    for (const { photo } of this.waiting) {
      if (photo.status !== "pausing" || photo.seconds === left) continue;
      photo.seconds = left;
      this.photos.changed(photo);
    }
    setTimeout(() => this.count(), 250);
  }
}
