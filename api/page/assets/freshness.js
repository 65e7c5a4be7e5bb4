// Freshness of the streams and lag of the queries; ages tick between two answers of the API.

import { get } from "./api.js";
import { byId, chip, element, fillFacts, fillTable, setText, showProblem, showState } from "./dom.js";
import { age, readable } from "./time.js";

/**
 * @typedef {import("./types.js").Status} Status
 * @typedef {import("./types.js").Freshness} Freshness
 * @typedef {import("./types.js").Lag} Lag
 * @typedef {ReturnType<import("./latency.js").Latencies["summary"]>} Latency
 */

// A stream or a query whose newest record is older than this is late, and then stale.
const LATE_S = 10;
const STALE_S = 120;
// A market that is played from a file has trades of another day: its ages say nothing about us.
const PAST_S = 86_400;
const ROWS = 12;

/** The panel; `status` is the last answer, and `receivedAt` when it came. */
export class FreshnessPanel {
  constructor() {
    this.panel = byId("facts", HTMLDListElement).closest("section");
    /** @type {Status | null} */
    this.status = null;
    this.receivedAt = 0;
    /** @type {number | null} When the newest trade reached this page. */
    this.arrivedAt = null;
  }

  /** Ask the API, and show the answer. Returns it, or null with the reason in the panel. */
  async refresh() {
    try {
      this.status = /** @type {Status} */ (await get("/v1/status"));
      this.receivedAt = Date.now();
      const isEmpty = this.status.freshness.length === 0;
      const missing = Object.entries(this.status.unavailable).map(([name, why]) => `${name}: ${why}`).join(" ");
      if (missing) showState(this.panel, "error", `Not all is known. ${missing}`, "tickhouse doctor");
      else if (isEmpty) showState(this.panel, "empty", "No stream has a trade yet.", "tickhouse demo, or tickhouse replay FILE");
      else showState(this.panel, "ready");
    } catch (problem) {
      showProblem(this.panel, problem);
      return null;
    }
    this.#showTables();
    return this.status;
  }

  /**
   * Show what changes each second: the ages.
   *
   * @param {Latency} latency
   */
  tick(latency) {
    const now = Date.now();
    this.#showFacts(now, latency);
    for (const cell of this.panel?.querySelectorAll("[data-age]") ?? []) {
      const seconds = Number(cell.getAttribute("data-age")) + (now - this.receivedAt) / 1000;
      const shown = cell.querySelector(".age");
      if (shown) setText(shown, age(seconds));
      const [mark, judged] = [cell.querySelector(".chip"), this.#judged(seconds)];
      if (mark && mark.textContent !== judged.textContent) mark.replaceWith(judged);
    }
  }

  /**
   * @param {number} now
   * @param {Latency} latency
   */
  #showFacts(now, latency) {
    const arrived = this.arrivedAt === null ? "none yet" : `${age((now - this.arrivedAt) / 1000)} ago`;
    const status = this.status;
    fillFacts(byId("facts", HTMLDListElement), [
      { name: "Newest trade on this page", value: arrived },
      { name: "Trade to screen, last minute", value: latencyText(latency) },
      { name: "Open gaps", value: count(status?.gaps_open) },
      { name: "Dead letters", value: count(status?.dead_letters) },
    ]);
  }

  #showTables() {
    const stalest = [...(this.status?.freshness ?? [])].sort((a, b) => (b.age_s ?? Infinity) - (a.age_s ?? Infinity));
    fillTable(byId("streams", HTMLTableElement), [
      { title: "Stream", cell: (row) => `${row.market} ${row.symbol}` },
      { title: "Last trade, UTC", isWide: true, isNumber: true, cell: (row) => row.last_trade_time ? readable(row.last_trade_time) : "–" },
      { title: "Age", isNumber: true, cell: (row) => this.#ageCell(row.age_s) },
    ], stalest.slice(0, ROWS), `The ${Math.min(ROWS, stalest.length)} streams with the oldest trades, of ${stalest.length}`);
    fillTable(byId("queries", HTMLTableElement), [
      { title: "Query", cell: (row) => row.query },
      { title: "Records behind", isNumber: true, cell: (row) => count(row.records) },
      { title: "Behind by", isNumber: true, cell: (row) => this.#judgedAge(row.age_s) },
    ], this.status?.lag ?? [], "How far each streaming query is behind Kafka");
  }

  /** @param {number | null} seconds Of the answer; it grows until the next one (`tick`). */
  #ageCell(seconds) {
    const cell = this.#judgedAge(seconds);
    if (seconds !== null) cell.setAttribute("data-age", String(seconds));
    return cell;
  }

  /** @param {number | null} seconds */
  #judgedAge(seconds) {
    if (seconds === null) return element("span", {}, chip("wait", "unknown"));
    return element("span", {}, element("span", { class: "age" }, age(seconds)), " ", this.#judged(seconds));
  }

  /** @param {number} seconds */
  #judged(seconds) {
    if (this.status?.is_synthetic && seconds > PAST_S) return chip("wait", "played");
    if (seconds <= LATE_S) return chip("good", "fresh");
    return seconds <= STALE_S ? chip("late", "late") : chip("bad", "stale");
  }
}

/** @param {Latency} latency */
function latencyText(latency) {
  if (!latency) return "no trade yet";
  if (latency.median > PAST_S * 1000) return "not measured: the market is played from another day";
  return `median ${milliseconds(latency.median)}, 95 % within ${milliseconds(latency.p95)}`;
}

/** @param {number} ms May be negative where the clocks of two machines differ. */
function milliseconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : age(ms / 1000);
}

/** @param {number | null | undefined} value */
function count(value) {
  return value === null || value === undefined ? "unknown" : String(value);
}
