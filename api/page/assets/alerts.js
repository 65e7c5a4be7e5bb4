// Alerts, the newest first: what the API has kept, and those that ring while the page is open.

import { get } from "./api.js";
import { byId, chip, element, showProblem, showState } from "./dom.js";
import { readable } from "./time.js";

/** @typedef {import("./types.js").Alert} Alert */

const SHOWN = 50;
const MOST_KNOWN = 1_000; // more than the API answers at once, so that no alert rings twice
/** @type {Record<string, "good" | "late" | "bad" | "wait">} */
const COLOURS = { info: "wait", warning: "late", critical: "bad" };

export class AlertList {
  constructor() {
    this.list = byId("alerts", HTMLOListElement);
    this.panel = this.list.closest("section");
    /** @type {Map<string, Alert>} By id: the stream and the API may give the same alert. */
    this.known = new Map();
    this.hasLoaded = false;
    /** @type {AudioContext | null} */
    this.audio = null;
    // A browser allows sound only after a click, so it is off at each load.
    byId("sound", HTMLInputElement).addEventListener("change", (event) => {
      const isOn = event.target instanceof HTMLInputElement && event.target.checked;
      this.audio = isOn ? new AudioContext() : null;
    });
  }

  /** Load the newest alerts; those that are new since the last time ring, except at the first time. */
  async refresh() {
    try {
      /** @type {{data: Alert[]}} */
      const { data } = await get("/v1/alerts", { limit: SHOWN });
      for (const alert of [...data].reverse()) this.#add(alert, this.hasLoaded);
      this.hasLoaded = true;
    } catch (problem) {
      return showProblem(this.panel, problem);
    }
    this.#show();
    return true;
  }

  /**
   * Show an alert of the live stream.
   *
   * @param {Alert} alert
   */
  ring(alert) {
    this.#add(alert, true);
    this.#show();
  }

  /**
   * @param {Alert} alert
   * @param {boolean} isNew
   */
  #add(alert, isNew) {
    if (this.known.has(alert.alert_id)) return;
    this.known.set(alert.alert_id, alert);
    if (!isNew) return;
    byId("alerts-spoken", HTMLParagraphElement).textContent = `Alert, ${alert.severity}: ${alert.summary}`;
    if (this.audio) beep(this.audio);
  }

  #show() {
    const newest = [...this.known.values()].sort((a, b) => (a.raised_at < b.raised_at ? 1 : -1)).slice(0, SHOWN);
    this.known = new Map([...this.known].slice(-MOST_KNOWN));
    this.list.replaceChildren(...newest.map(item));
    if (newest.length) showState(this.panel, "ready");
    else showState(this.panel, "empty", "No alert has rung.");
  }
}

/** @param {Alert} alert */
function item(alert) {
  const subject = [alert.market, alert.symbol].filter(Boolean).join(" ");
  return element("li", { "data-alert": alert.alert_id },
    element("p", { class: "alert-head" },
      chip(COLOURS[alert.severity.toLowerCase()] ?? "late", alert.severity), " ",
      element("time", { datetime: alert.raised_at }, readable(alert.raised_at)), " ",
      element("span", { class: "quiet" }, [subject, alert.rule].filter(Boolean).join(", "))),
    element("p", {}, alert.summary));
}

/** @param {AudioContext} audio */
function beep(audio) {
  const [tone, volume] = [audio.createOscillator(), audio.createGain()];
  volume.gain.setValueAtTime(0.15, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.5);
  tone.frequency.value = 880;
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.5);
}
