// The alerts of Prometheus's rules: those that fire, then those that are pending.

import { byId, chip, element, showState } from "./dom.js";
import { readable } from "./time.js";

/** @typedef {import("./types.js").OpsAlert} OpsAlert */

/** @type {Record<string, "late" | "bad">} */
const COLOURS = { warning: "late", critical: "bad" };
let spoken = "";

/** @param {readonly OpsAlert[]} alerts */
export function showFiring(alerts) {
  const list = byId("firing", HTMLOListElement);
  const section = list.closest("section");
  const firing = alerts.filter(({ state }) => state === "firing");
  list.replaceChildren(...alerts.map(item));
  byId("firing-title", HTMLHeadingElement).textContent = firing.length ? `Alerts firing: ${firing.length}` : "Alerts firing";
  if (alerts.length) showState(section, "ready");
  else showState(section, "empty", "No alert is firing.");
  const text = firing.map((one) => one.summary || one.alert).join(". ");
  if (text !== spoken) byId("firing-spoken", HTMLParagraphElement).textContent = text && `Firing: ${text}`;
  spoken = text;
}

/** @param {OpsAlert} alert */
function item(alert) {
  const isFiring = alert.state === "firing";
  const labels = Object.entries(alert.labels).map(([name, value]) => `${name} ${value}`).join(", ");
  // A page of the runbook is a file of the repository, or an address.
  const isAddress = /^https?:\/\//.test(alert.runbook);
  const runbook = isAddress ? element("a", { href: alert.runbook, rel: "noreferrer" }, "runbook") : element("code", {}, alert.runbook);
  return element("li", { "data-alert": alert.alert },
    element("p", { class: "alert-head" },
      chip(isFiring ? COLOURS[alert.severity] ?? "late" : "wait", isFiring ? alert.severity || "firing" : "pending"), " ",
      element("strong", {}, alert.alert), " ",
      element("time", { datetime: alert.since }, `since ${readable(alert.since)}`), " ",
      element("span", { class: "quiet" }, labels)),
    element("p", {}, alert.summary || alert.description, ...(alert.runbook ? [" ", runbook] : [])));
}
