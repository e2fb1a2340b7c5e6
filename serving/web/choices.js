/** What is to be done, by which models, into what kind of file. */

import { ask } from "./api.js";
import { byId, element } from "./element.js";

/** @typedef {import("./request.js").Wish} Wish */

const NAMES = { revive: "Repair and colour", restore: "Repair", colorize: "Colour" };
const MODELS = /** @type {const} */ ({
  revive: ["restorer", "colorizer"],
  restore: ["restorer"],
  colorize: ["colorizer"],
});
const FORMATS = /** @type {Record<string, string>} */ ({ png: "PNG", jpeg: "JPEG", tiff: "TIFF", webp: "WebP" });

/**
 * What a replica says of the model that it serves.
 * @typedef {{state: string, version: string | null, recipe: string | null, hinted?: boolean | null, error: string | null}} Replica
 */

/** Tells "changed" whenever another choice is made. */
export class Choices extends EventTarget {
  /** @type {Record<string, Replica | undefined>} model -> one of its replicas, a ready one where there is one */
  served = {};

  constructor() {
    super();
    byId("choices").addEventListener("change", (/** @type {Event} */ event) => {
      const target = /** @type {HTMLSelectElement} */ (event.target);
      if (target.value === "another") this.another(target);
      else if (target.matches("#restorer, #colorizer")) byId(`${target.id}-version`).parentElement.hidden = true;
      this.draw();
    });
    // What is served may have changed since the page was opened.
    byId("models").addEventListener("toggle", () => byId("models").open && void this.look());
    for (const model of ["restorer", "colorizer"]) this.offer(model);
    this.draw();
  }

  /** Ask the service which models there are; without an answer the choice is what it was. */
  async look() {
    try {
      const { models } = await (await ask("GET", "v1/models")).json();
      for (const { model, replicas } of models) {
        this.served[model] = replicas.find((/** @type {Replica} */ one) => one.version) ?? replicas[0];
      }
    } catch {
      return;
    }
    for (const model of ["restorer", "colorizer"]) this.offer(model);
    byId("find-damage-choice").hidden = !this.detects;
    byId("find").hidden = !this.detects && "detector" in this.served;
    this.draw();
  }

  /** Whether the service finds damage by itself. */
  get detects() {
    return !!this.served.detector?.version;
  }

  /** @returns {Wish["task"]} */
  get task() {
    return /** @type {any} */ (document.querySelector("input[name=task]:checked")).value;
  }

  get verb() {
    return NAMES[this.task];
  }

  /** @returns {Wish} */
  get wish() {
    return {
      task: this.task,
      models: this.models,
      findDamage: this.task !== "colorize" && this.detects && byId("find-damage").checked,
      keepMetadata: byId("keep-metadata").checked,
      format: byId("format").value,
    };
  }

  /**
   * X-Model's value. An alias is meant for every model that has it, so beside a challenger the others are named by
   * their exact version.
   */
  get models() {
    const chosen = MODELS[this.task].map((model) => ({ model, value: byId(model).value }));
    const challenged = chosen.some(({ value }) => value === "challenger");
    const named = chosen.flatMap(({ model, value }) => {
      if (value === "challenger") return [];
      return value || (challenged && this.served[model]?.version) || [];
    });
    return [...(challenged ? ["challenger"] : []), ...named].join(",");
  }

  /** Why painted damage has no effect; empty where it has. */
  get maskless() {
    if (this.task !== "colorize") return "";
    return "Nothing is repaired where only colour is given. Choose Repair and colour, or Repair.";
  }

  /** Why no colour hints can be given; empty where they can, or nobody knows. */
  get hintless() {
    if (this.task === "restore")
      return "Hints are used where the photograph is coloured. Choose Repair and colour, or Colour.";
    const { version, recipe, hinted } = this.served.colorizer ?? {};
    if (byId("colorizer").value || hinted !== false) return "";
    return `${version} (${recipe}) takes no colour hints. Another model may: see Models and file.`;
  }

  /** @param {string} model */
  offer(model) {
    const select = byId(model);
    const now = select.value;
    const { version, recipe, error } = this.served[model] ?? {};
    const champion = version ? `Champion: ${version}, ${recipe}` : error ? "Champion (not ready yet)" : "Champion";
    const own = [...select.options].filter((option) => option.dataset.own);
    select.replaceChildren(
      element("option", { value: "" }, champion),
      element("option", { value: "challenger" }, "Challenger"),
      ...own,
      element("option", { value: "another" }, "A certain version…"),
    );
    select.value = now;
  }

  /** An exact version is given by its number. @param {HTMLSelectElement} select */
  another(select) {
    const field = byId(`${select.id}-version`);
    field.parentElement.hidden = false;
    field.focus();
    field.onchange = () => {
      if (!field.reportValidity() || !field.value) return;
      const value = `${select.id}/${field.value}`;
      if (![...select.options].some((option) => option.value === value)) {
        select.lastElementChild?.before(element("option", { value, "data-own": "yes" }, value));
      }
      select.value = value;
      field.parentElement.hidden = true;
      select.focus();
      this.draw();
    };
    select.value = "";
  }

  draw() {
    byId("restorer").parentElement.hidden = this.task === "colorize";
    byId("colorizer").parentElement.hidden = this.task === "restore";
    byId("find-damage-choice").hidden = this.task === "colorize" || !this.detects;
    byId("choices-summary").textContent = this.models
      ? `· ${this.models}, ${FORMATS[byId("format").value]}`
      : `· ${FORMATS[byId("format").value]}`;
    this.dispatchEvent(new Event("changed"));
  }
}
