// The live page: which panel is fed by what.

import { AlertList } from "./alerts.js";
import { get } from "./api.js";
import { ChoiceForm } from "./choice.js";
import { showConnection } from "./connection.js";
import { byId, showProblem, showState } from "./dom.js";
import { FreshnessPanel } from "./freshness.js";
import { refreshGaps, wireGaps } from "./gaps.js";
import { refreshLake } from "./lake.js";
import { refreshMovers, wireMovers } from "./movers.js";
import { PricePanel } from "./price_panel.js";
import { LiveStream } from "./stream.js";
import { wireTheme } from "./theme.js";

/** @typedef {import("./types.js").Choice} Choice */

const [STATUS_EVERY_MS, RETRY_MS, MOVERS_EVERY_MS, SLOW_EVERY_MS] = [5_000, 5_000, 10_000, 60_000];
const MOST_SYMBOL_PAGES = 10;

const price = new PricePanel();
const alerts = new AlertList();
const freshness = new FreshnessPanel();
/** @type {LiveStream | null} */
let live = null;
/** @type {import("./types.js").StreamState} */
let streamState = { kind: "connecting" };
const form = new ChoiceForm((choice) => void open(choice));

/**
 * Show a choice: first the stream, then the candles, so that no trade falls between the two.
 *
 * @param {Choice} choice
 */
async function open(choice) {
  const { market, symbol } = choice;
  listen({ market, symbol, kinds: "trade,candle,alert" });
  await Promise.all([price.open(choice), refreshMovers(market), refreshGaps(market, symbol)]);
}

/** @param {Record<string, string>} query */
function listen(query) {
  live?.stop();
  live = new LiveStream(`/v1/live?${new URLSearchParams(query)}`, onEvent, (state) => {
    streamState = state;
    showConnection(state);
  });
  void live.run();
}

/** Nothing is chosen, because nothing is stored: only alerts can come. */
function showNothingStored() {
  const next = "tickhouse demo, or tickhouse replay FILE";
  showState(price.panel, "empty", "No trade was stored yet.", next);
  for (const panel of document.querySelectorAll(".movers-panel, .gaps-panel")) showState(panel, "empty", "No symbol to show yet.");
  if (!live) listen({ kinds: "alert" });
}

/** @param {import("./stream.js").ServerEvent} event */
function onEvent({ name, data }) {
  const found = JSON.parse(data);
  if (name === "trade") {
    freshness.arrivedAt = Date.now();
    price.takeTrade(found);
  } else if (name === "candle") price.takeCandle(found);
  else if (name === "alert") alerts.ring(found);
  else if (name === "lost") void Promise.all([price.reload(), alerts.refresh()]);
}

/** Load the symbols that can be chosen. */
async function refreshSymbols() {
  try {
    const symbols = [];
    let cursor;
    for (let page = 0; page < MOST_SYMBOL_PAGES && cursor !== null; page += 1) {
      const answer = await get("/v1/symbols", { limit: 1000, cursor });
      symbols.push(...answer.data);
      cursor = answer.next;
    }
    form.offer(symbols);
    if (!form.value.symbol) showNothingStored();
    return true;
  } catch (problem) {
    return form.value.symbol ? false : showProblem(price.panel, problem); // otherwise the candles say it
  }
}

async function refreshStatus() {
  const status = await freshness.refresh();
  if (!status) return false;
  const badge = byId("market-kind", HTMLParagraphElement);
  badge.hidden = !status.is_synthetic;
  badge.textContent = "SIMULATED";
  const note = byId("synthetic-note", HTMLParagraphElement);
  note.hidden = !status.is_synthetic;
  note.textContent = "SIMULATED: every trade on this page comes from a synthetic market, none from an exchange.";
  return true;
}

/** Load what follows the choice but does not come by the stream, and what failed before. */
async function refreshChosen() {
  const { market, symbol } = form.value;
  if (!symbol) return true;
  const results = await Promise.all([refreshGaps(market, symbol), price.hasLoaded || price.load()]);
  return results.every(Boolean);
}

/**
 * Call a function now and again while the page is visible.
 *
 * @param {() => Promise<boolean>} refresh Shows its own problems, and returns whether there was none.
 * @param {number} everyMs Soon again after a problem, and while nothing is stored.
 */
function repeat(refresh, everyMs) {
  const turn = async () => {
    const isWell = document.hidden || await refresh();
    setTimeout(turn, isWell && form.value.symbol ? everyMs : Math.min(everyMs, RETRY_MS));
  };
  void turn();
}

/** Let ages grow, at each full second. */
function tick() {
  if (!document.hidden) {
    showConnection(streamState);
    freshness.tick(price.latencies.summary());
  }
  setTimeout(tick, 1_000 - (Date.now() % 1_000));
}

wireTheme(() => price.repaint());
wireGaps();
wireMovers((market, symbol) => {
  form.choose({ market, symbol });
  byId("chart-title", HTMLHeadingElement).focus();
});
if (form.value.symbol) void open(form.value);
repeat(refreshStatus, STATUS_EVERY_MS);
repeat(refreshSymbols, SLOW_EVERY_MS);
// The stream has the alerts of the chosen symbol and of the lakehouse as a whole; those of other symbols come so.
repeat(() => alerts.refresh(), STATUS_EVERY_MS);
repeat(refreshLake, SLOW_EVERY_MS);
repeat(async () => !form.value.market || refreshMovers(form.value.market), MOVERS_EVERY_MS);
setTimeout(() => repeat(refreshChosen, SLOW_EVERY_MS), RETRY_MS);
tick();
