// The chart with what is around it: price, figures of a candle, table. It is painted once per frame,
// however many trades come. A tab in the background gets no frames, and paints when it is seen again.

import { get } from "./api.js";
import { Bars } from "./bars.js";
import { createPriceChart, showCandleTable, showLegend } from "./chart.js";
import { format, scaled } from "./decimal.js";
import { byId, setText, showProblem, showState } from "./dom.js";
import { Latencies } from "./latency.js";
import { SECONDS } from "./time.js";

/**
 * @typedef {import("./types.js").Choice} Choice
 * @typedef {import("./types.js").Bar} Bar
 * @typedef {import("./types.js").Candle} Candle
 * @typedef {import("./types.js").CandleEvent} CandleEvent
 * @typedef {import("./types.js").TradeEvent} TradeEvent
 */

const CANDLES = 500;
const REFETCH_MS = 2_000;

export class PricePanel {
  constructor() {
    this.panel = byId("chart", HTMLDivElement).closest("section");
    this.latencies = new Latencies();
    /** @type {Choice} */
    this.choice = { market: "", symbol: "", interval: "1m" };
    this.bars = new Bars(60);
    /** @type {Awaited<ReturnType<typeof createPriceChart>>} */
    this.chart = null;
    /** @type {Promise<void> | null} */
    this.chartComing = null;
    /** @type {Bar | undefined} The bar under the pointer, or chosen with keys. */
    this.pointed = undefined;
    /** @type {TradeEvent | null} */
    this.latest = null;
    /** @type {number[]} Times of the trades that the next frame shows. */
    this.unpainted = [];
    this.mustDraw = { all: false, newest: false };
    this.isFrameAsked = false;
    this.hasLoaded = false; // the candles of the choice
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.refetch = undefined;
    this.panel?.querySelector("details")?.addEventListener("toggle", () => this.#ask({ newest: true }));
  }

  /**
   * Show another choice.
   *
   * @param {Choice} choice
   */
  open(choice) {
    [this.choice, this.bars] = [choice, new Bars(SECONDS[choice.interval])];
    [this.pointed, this.latest, this.unpainted] = [undefined, null, []];
    this.hasLoaded = false;
    this.latencies.clear();
    clearTimeout(this.refetch);
    this.refetch = undefined;
    showState(this.panel, "loading", "Loading candles");
    this.#ask({ all: true });
    return this.load();
  }

  /** Load the candles of the choice; they replace the bars of the same time. */
  async load() {
    const [choice, bars] = [this.choice, this.bars];
    try {
      /** @type {{data: Candle[]}} */
      const { data } = await get("/v1/candles", { ...choice, limit: CANDLES });
      if (bars !== this.bars) return true; // another choice was made meanwhile
      bars.applyCandles(data);
      this.hasLoaded = true;
      this.panel?.classList.toggle("is-empty", bars.list.length === 0); // the chart is made at its size
      if (bars.list.length) showState(this.panel, "ready");
      else showState(this.panel, "empty", `No candles of ${choice.symbol} yet.`, "tickhouse status");
    } catch (problem) {
      return bars === this.bars && showProblem(this.panel, problem);
    }
    this.chartComing ??= this.#makeChart();
    await this.chartComing;
    this.#ask({ all: true });
    return true;
  }

  /** Forget the trades, because some were missed, and load what the stores have. */
  reload() {
    this.bars.forgetTrades();
    return this.load();
  }

  /** @param {TradeEvent} trade */
  takeTrade(trade) {
    if (!this.#isChosen(trade)) return;
    if (!this.latest || this.latest.trade_time <= trade.trade_time) this.latest = trade;
    if (!document.hidden) this.unpainted.push(Date.parse(trade.trade_time));
    this.bars.applyTrade(trade);
    this.#ask({ newest: true });
  }

  /** @param {CandleEvent} candle */
  takeCandle(candle) {
    if (!this.#isChosen(candle)) return;
    if (candle.interval === this.choice.interval) this.#ask({ all: this.bars.applyCandles([candle]), newest: true });
    // Candles of more than a minute are made by the API: ask for the newest, not for each event.
    else this.refetch ??= setTimeout(() => this.#refetchNewest(), REFETCH_MS);
  }

  /** Take the colours of another theme. */
  repaint() {
    this.chart?.paint();
  }

  async #makeChart() {
    this.chart = await createPriceChart(/** @type {Element} */ (this.panel));
    if (this.chart) this.chart.onChosen = (bar) => { this.pointed = bar; this.#ask({}); };
  }

  async #refetchNewest() {
    this.refetch = undefined;
    const bars = this.bars;
    const result = await get("/v1/candles", { ...this.choice, limit: 2 }).catch(() => null); // the next event asks again
    if (result && bars === this.bars) this.#ask({ all: bars.applyCandles(result.data), newest: true });
  }

  /** @param {{market: string, symbol: string}} event */
  #isChosen(event) {
    return event.market === this.choice.market && event.symbol === this.choice.symbol;
  }

  /** @param {{all?: boolean, newest?: boolean}} parts */
  #ask({ all = false, newest = false }) {
    this.mustDraw = { all: this.mustDraw.all || all, newest: this.mustDraw.newest || newest };
    if (this.isFrameAsked) return;
    this.isFrameAsked = true;
    requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    const { bars, choice, chart } = this;
    const { all, newest } = this.mustDraw;
    [this.isFrameAsked, this.mustDraw] = [false, { all: false, newest: false }];
    if (all || chart?.view.decimals !== bars.decimals) chart?.draw(bars, { market: choice.market, seconds: bars.seconds, decimals: bars.decimals });
    else if (newest) chart?.drawNewest();
    showLegend(bars, this.pointed ? bars.at(this.pointed.time) : bars.list.at(-1), choice);
    if (all || newest) showCandleTable(bars, choice);
    this.#showPrice();
    this.latencies.add(Date.now(), this.unpainted);
    this.unpainted = [];
  }

  #showPrice() {
    const { bars, choice } = this;
    const text = this.latest?.price ?? bars.list.at(-1)?.close;
    const shown = text === undefined ? "" : format(scaled(text, bars.decimals), bars.decimals);
    const price = byId("price", HTMLDataElement);
    price.value = text ?? "";
    price.dataset.event = this.latest?.event_id ?? ""; // for `tickhouse explain`, and for bench/page_freshness.py
    price.classList.toggle("quiet", text === undefined);
    setText(price, shown || "no price yet");
    const about = `${bars.list.length} candles of ${choice.interval}${shown && `, price ${shown}`}`;
    byId("chart", HTMLDivElement).setAttribute("aria-label", `Candlestick chart of ${choice.symbol || "no symbol"}, ${about}`);
    this.panel?.classList.toggle("is-empty", bars.list.length === 0);
    document.title = `${shown ? `${shown} ${choice.symbol} · ` : ""}Tickhouse`;
  }
}
