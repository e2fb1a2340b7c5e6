/** An album on the stage: how far it is, and what became of each of its photographs. */

import { byId, element, icon } from "./element.js";

const WORDS = { queued: "Waiting", working: "Working…", done: "Done", refused: "Refused", failed: "Failed" };

/** @param {import("./album.js").Album} album */
export function drawAlbum(album) {
  const { state } = album;
  const view = byId("zip-view");
  view.classList.toggle("bare", !state);
  view.replaceChildren(
    ...(state ? [] : [icon("zip")]),
    element("h2", {}, album.name),
    element("p", {}, sentence(album)),
    ...(state
      ? [
          element("progress", { max: state.total, value: ended(state), "aria-label": "Photographs that are done" }),
          list(state),
        ]
      : []),
    ...(album.status === "sending" ? [element("progress", { max: 1, value: album.sent, "aria-label": "Sent" })] : []),
  );
}

/** @param {import("./album.js").State} state */
const ended = ({ done, refused, failed }) => done + refused + failed;

/** @param {import("./album.js").Album} album */
function sentence({ status, state, file }) {
  if (status === "sending") return "The album is being sent.";
  if (!state)
    return `A zip of ${(file.size / 1e6).toFixed(1)} MB. The service unpacks it, and its champion models work on every photograph in it.`;
  const failures = state.refused + state.failed;
  const others = failures ? `, ${failures} could not be done` : "";
  if (state.state === "done")
    return `${state.done} of ${state.total} photographs are done${others}. The zip also holds a report.`;
  return state.waiting || `${ended(state)} of ${state.total} photographs${others}.`;
}

/** @param {import("./album.js").State} state */
function list({ photographs }) {
  const rows = photographs.map(({ name, state, reason }) => {
    const status = state === "failed" ? "refused" : state;
    return element(
      "li",
      {},
      element("span", {}, name),
      element("span", { "data-status": status }, reason ? `${WORDS[state]}: ${reason}` : WORDS[state]),
    );
  });
  return element("ul", {}, ...rows);
}
