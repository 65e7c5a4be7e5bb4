// The movers: how far each symbol moved in 24 hours. A symbol's button shows its chart.

import { get } from "./api.js";
import { compact, compare, exact, rounded } from "./decimal.js";
import { byId, element, fillTable, showProblem, showState, walkWithArrows } from "./dom.js";

/** @typedef {import("./types.js").Mover} Mover */

const LIMIT = 20;

/** @param {(market: string, symbol: string) => void} onChoose */
export function wireMovers(onChoose) {
  const table = byId("movers", HTMLTableElement);
  table.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (button) onChoose(button.dataset.market ?? "", button.dataset.symbol ?? "");
  });
  walkWithArrows(table, "button", 1);
}

/**
 * Load and show the movers of a market.
 *
 * @param {string} market
 */
export async function refreshMovers(market) {
  const table = byId("movers", HTMLTableElement);
  const panel = table.closest("section");
  try {
    /** @type {{data: Mover[]}} */
    const { data } = await get("/v1/movers", { market, window: "24h", limit: LIMIT });
    showMovers(table, data);
    if (data.length) showState(panel, "ready");
    else showState(panel, "empty", "No symbol traded within 24 hours of the newest trade.", "tickhouse status");
    return true;
  } catch (problem) {
    return showProblem(panel, problem);
  }
}

/**
 * @param {HTMLTableElement} table
 * @param {readonly Mover[]} movers
 */
function showMovers(table, movers) {
  fillTable(table, [
    { title: "Symbol", cell: ({ market, symbol }) => element(
      "button", { type: "button", "data-market": market, "data-symbol": symbol, "data-key": `${market}:${symbol}` }, symbol) },
    { title: "Change", isNumber: true, cell: ({ change_percent: percent }) => change(percent) },
    { title: "Price", isNumber: true, cell: ({ close }) => exact(close, 2) },
    { title: "Turnover", isNumber: true, isWide: true, cell: ({ quote_volume: volume }) =>
      element("span", { title: exact(volume) }, compact(volume)) },
  ], movers);
}

/** @param {string} percent Exact text; shown with two decimals. */
export function change(percent) {
  const direction = compare(percent, "0");
  const mark = direction > 0 ? "▲ +" : direction < 0 ? "▼ " : "";
  const name = direction > 0 ? "up" : direction < 0 ? "down" : "flat";
  return element("span", { class: `change ${name}`, title: `${exact(percent)} %` }, `${mark}${rounded(percent, 2)} %`);
}
