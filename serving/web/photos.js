/** All photographs on the page and which one is shown; says when something of them changes. */

/** @typedef {import("./photo.js").Photo | import("./album.js").Album} Item */

export class Photos extends EventTarget {
  /** @type {Item[]} */
  items = [];
  /** @type {Item | null} */
  current = null;

  get photos() {
    return /** @type {import("./photo.js").Photo[]} */ (this.items.filter((item) => item.kind === "photo"));
  }

  /** The photograph that is shown; null where an album is, or nothing. */
  get photo() {
    return this.current?.kind === "photo" ? this.current : null;
  }

  /** @param {Item} item */
  add(item) {
    this.items.push(item);
    this.tell("added", item);
    if (!this.current) this.show(item);
  }

  /** @param {Item} item */
  remove(item) {
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    item.forget();
    this.tell("removed", item);
    if (this.current === item) this.show(this.items[Math.min(at, this.items.length - 1)] ?? null);
  }

  /** @param {Item | null} item */
  show(item) {
    this.current = item;
    this.tell("shown", item);
  }

  /** @param {Item} item something of it changed */
  changed(item) {
    if (this.items.includes(item)) this.tell("changed", item);
  }

  /** @param {"added" | "removed" | "shown" | "changed"} type @param {Item | null} item */
  tell(type, item) {
    this.dispatchEvent(new CustomEvent(type, { detail: item }));
  }

  /** @param {string[]} types @param {(item: Item | null) => void} act */
  on(types, act) {
    for (const type of types) this.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
  }
}
