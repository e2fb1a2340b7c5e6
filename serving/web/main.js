/** The page's parts, put together. */

import { Actions } from "./actions.js";
import { Album, reviveAlbum } from "./album.js";
import { Choices } from "./choices.js";
import { Compare } from "./compare.js";
import { Desk, mode } from "./desk.js";
import { prepareDownloads } from "./downloads.js";
import { byId } from "./element.js";
import { Gestures } from "./gestures.js";
import { Hints } from "./hints.js";
import { isZip, prepareIntake } from "./intake.js";
import { askForKey, keys, theKey } from "./key.js";
import { Painting } from "./painting.js";
import { look, Photo } from "./photo.js";
import { Photos } from "./photos.js";
import { Queue } from "./queue.js";
import { prepareReference } from "./reference.js";
import { Strip } from "./strip.js";
import { View } from "./view.js";

/** @typedef {import("./photos.js").Item} Item */

const photos = new Photos();
const queue = new Queue(photos);
const choices = new Choices();
const view = new View();
const compare = new Compare(view);
// Before those that draw over the picture: they need its size.
const desk = new Desk(photos, view, compare, again);
const painting = new Painting(photos, view);
const hints = new Hints(photos, view, start);
const tools = { compare: compare.tool(), damage: painting.tool(), colours: hints.tool() };
const gestures = new Gestures(view, tools.compare);
new Strip(photos);
new Actions(photos, choices, { start, stop });

/** Photographs are looked at one after the other: decoding many at once is more than a phone has memory for. */
let looking = Promise.resolve();

/** @param {File[]} files */
function take(files) {
  for (const file of files) {
    const item = isZip(file) ? new Album(file) : new Photo(file);
    photos.add(item);
    if (item.kind === "photo") looking = looking.then(() => meet(item));
  }
}

/** @param {Photo} photo that may be removed before it is looked at, and meanwhile */
async function meet(photo) {
  if (photos.items.includes(photo)) await look(photo);
  if (photos.items.includes(photo)) photos.changed(photo);
  else photo.forget();
}

/** @param {Item} item */
function start(item) {
  if (item.kind === "photo") queue.put(item, choices.wish);
  else void reviveAlbum(item, choices.wish, () => photos.changed(item));
}

/** @param {Item} item */
function stop(item) {
  if (item.kind === "photo") queue.stop(item);
  else item.forget();
}

/** @param {Item} item that was refused, or waits until the service may be asked again */
function again(item) {
  if (item.kind === "photo" && item.status === "pausing") queue.hurry();
  else start(item);
}

byId("modes").addEventListener("change", () => {
  gestures.use(tools[mode()]);
  hints.forgetDraft();
  desk.draw();
});
choices.addEventListener("changed", () => {
  painting.hinder(choices.maskless);
  hints.hinder(choices.hintless);
});
byId("change-key").hidden = !theKey();
byId("change-key").addEventListener("click", () => void askForKey());
keys.addEventListener("given", () => {
  byId("change-key").hidden = false;
  void choices.look();
});
prepareIntake(take);
prepareReference();
prepareDownloads(photos, () => choices.wish.format);
gestures.use(tools.compare);
void choices.look();
