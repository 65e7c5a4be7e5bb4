// Says whether the live stream is connected, and for how long it has not been.

import { byId } from "./dom.js";
import { age } from "./time.js";

/** @typedef {import("./types.js").StreamState} StreamState */

/** @param {StreamState} state */
export function showConnection(state) {
  const chip = byId("connection", HTMLParagraphElement);
  const lostFor = state.kind === "reconnecting" ? Math.floor((Date.now() - state.since) / 1000) : 0;
  const text = state.kind === "reconnecting" ? `reconnecting for ${seconds(lostFor)}` : state.kind;
  chip.dataset.state = { connecting: "wait", live: "good", reconnecting: "bad" }[state.kind];
  chip.title = state.kind === "reconnecting" ? state.reason : "";
  // It is said once when the connection is lost and once when it is back, not each second.
  chip.setAttribute("aria-live", lostFor > 1 ? "off" : "polite");
  if (chip.textContent !== text) chip.textContent = text;
}

/** @param {number} whole */
function seconds(whole) {
  return whole < 60 ? `${whole} s` : age(whole);
}
