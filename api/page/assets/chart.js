// Draws the bars with lightweight-charts, and lets keys choose a candle.
//
// The library needs numbers for its pixels, so here, and nowhere else, prices become floats. What a
// person reads as a figure is the legend, which has the texts of the API.

import { averageAt } from "./averages.js";
import { byId, fillFacts, fillTable, showProblem } from "./dom.js";
import { exact, format, rounded, scaled } from "./decimal.js";
import { Problem } from "./api.js";
import { SECONDS, minuteOf } from "./time.js";

/**
 * @typedef {import("./types.js").Bar} Bar
 * @typedef {import("./types.js").Choice} Choice
 * @typedef {import("./bars.js").Bars} Bars
 * @typedef {typeof import("./lightweight-charts.js")} Library
 */

const SPANS = /** @type {const} */ ([1, 5]); // candles of the two averages
const TABLE_ROWS = 30;
const RIGHT_OFFSET = 4; // free candles between the newest one and the price scale
/** @type {Record<string, string>} */
const UNITS = { "1m": "min", "5m": "min", "1h": "h", "1d": "d" };
/** @type {Record<string, number>} */
const UNIT_COUNT = { "1m": 1, "5m": 5, "1h": 1, "1d": 1 };

/**
 * Return the chart, or null with the reason in the panel where the library is not installed.
 *
 * @param {Element} panel
 */
export async function createPriceChart(panel) {
  try {
    return new PriceChart(await import("./lightweight-charts.js"));
  } catch (error) {
    console.warn(error);
    const safe = "the figures above and the table below are complete";
    showProblem(panel, new Problem("The chart library is not installed", safe, "make setup, then tickhouse up"));
    byId("chart", HTMLDivElement).hidden = true;
    return null;
  }
}

export class PriceChart {
  /** @param {Library} library */
  constructor(library) {
    this.library = library;
    this.box = byId("chart", HTMLDivElement);
    // attributionLogo adds a <style>, which the page's content security policy refuses; the footer has the link.
    this.chart = library.createChart(this.box, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily },
      localization: { locale: "en-GB", timeFormatter: (/** @type {any} */ time) => `${minuteOf(time)} UTC` },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: RIGHT_OFFSET },
    });
    this.candles = this.chart.addSeries(library.CandlestickSeries, {});
    this.averages = SPANS.map(() => this.chart.addSeries(library.LineSeries, {
      lineWidth: 2, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
    }));
    this.volume = this.chart.addSeries(library.HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false,
    });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.06, bottom: 0.26 } });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
    /** @type {Bars | null} */
    this.bars = null;
    this.view = { market: "", seconds: 60, decimals: 2 };
    /** @type {Bar | undefined} The bar that keys have chosen. */
    this.chosen = undefined;
    /** @type {(bar: Bar | undefined) => void} */
    this.onChosen = () => {};
    this.chart.subscribeCrosshairMove((/** @type {any} */ move) =>
      this.onChosen(move.time === undefined ? this.chosen : this.bars?.at(move.time)));
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("blur", () => this.#unchoose());
    this.paint();
  }

  /** Take the colours of the theme from the style sheet. */
  paint() {
    const colour = colourReader();
    this.colours = { up: colour("--up-soft"), down: colour("--down-soft") };
    const grid = { color: colour("--grid") };
    this.chart.applyOptions({
      layout: { background: { color: colour("--panel") }, textColor: colour("--quiet") },
      grid: { vertLines: grid, horzLines: grid },
      crosshair: { vertLine: { labelBackgroundColor: colour("--label") }, horzLine: { labelBackgroundColor: colour("--label") } },
      rightPriceScale: { borderColor: grid.color },
      timeScale: { borderColor: grid.color },
    });
    const [up, down] = [colour("--up"), colour("--down")];
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false });
    SPANS.forEach((span, at) => this.averages[at].applyOptions({ color: colour(`--average-${span}`) }));
    if (this.bars) this.draw(this.bars, this.view);
  }

  /**
   * Draw all bars.
   *
   * @param {Bars} bars
   * @param {{market: string, seconds: number, decimals: number}} view
   */
  draw(bars, view) {
    const isNew = this.bars !== bars;
    [this.bars, this.view] = [bars, view];
    const priceFormat = { type: /** @type {const} */ ("price"), precision: view.decimals, minMove: 10 ** -view.decimals };
    this.candles.applyOptions({ priceFormat });
    this.candles.setData(bars.list.map(ohlc));
    this.volume.setData(bars.list.map((bar) => this.#column(bar)));
    SPANS.forEach((span, at) => this.averages[at].setData(bars.list.map((_, index) => this.#point(index, span))));
    if (isNew) this.#unchoose();
    if (isNew) this.chart.timeScale().scrollToPosition(RIGHT_OFFSET, false);
  }

  /** Draw the newest bar only. */
  drawNewest() {
    const list = this.bars?.list ?? [];
    const bar = list.at(-1);
    if (!bar) return;
    this.candles.update(ohlc(bar));
    this.volume.update(this.#column(bar));
    SPANS.forEach((span, at) => this.averages[at].update(this.#point(list.length - 1, span)));
  }

  /** @param {Bar} bar */
  #column(bar) {
    return { time: stamp(bar), value: Number(bar.volume), color: Number(bar.close) < Number(bar.open) ? this.colours?.down : this.colours?.up };
  }

  /**
   * @param {number} index
   * @param {number} span
   */
  #point(index, span) {
    const list = this.bars?.list ?? [];
    const average = averageAt(list, index, span, this.view);
    return average === null ? { time: stamp(list[index]) } : { time: stamp(list[index]), value: Number(average) };
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const list = this.bars?.list ?? [];
    const scale = this.chart.timeScale();
    /** @type {number} */
    const here = this.chosen ? list.findIndex((bar) => bar.time === this.chosen?.time) : list.length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -here, End: list.length };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step !== undefined && list.length) {
      this.chosen = list[Math.min(Math.max(here + step, 0), list.length - 1)];
      this.#showIndex(list.indexOf(this.chosen));
      this.chart.setCrosshairPosition(Number(this.chosen.close), stamp(this.chosen), this.candles);
      this.onChosen(this.chosen);
      byId("chart-spoken", HTMLParagraphElement).textContent = spoken(this.chosen);
    } else if (event.key === "+" || event.key === "-") {
      scale.applyOptions({ barSpacing: scale.options().barSpacing * (event.key === "+" ? 1.25 : 0.8) });
    } else if (event.key === "Escape") this.#unchoose();
    else return;
    event.preventDefault();
  }

  /** Show the newest candle's figures again. */
  #unchoose() {
    this.chosen = undefined;
    this.chart.clearCrosshairPosition();
    this.onChosen(undefined);
  }

  /** @param {number} index Scroll it into view. */
  #showIndex(index) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || (index >= range.from && index <= range.to)) return;
    const half = (range.to - range.from) / 2;
    this.chart.timeScale().setVisibleLogicalRange({ from: index - half, to: index + half });
  }
}

/** @param {Bar} bar */
const stamp = (bar) => /** @type {import("./lightweight-charts.js").UTCTimestamp} */ (bar.time);

/** @param {Bar} bar */
function ohlc(bar) {
  return { time: stamp(bar), open: Number(bar.open), high: Number(bar.high), low: Number(bar.low), close: Number(bar.close) };
}

/** @param {Bar} bar */
function spoken(bar) {
  const [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map((one) => exact(one));
  return `${minuteOf(bar.time)}: open ${open}, high ${high}, low ${low}, close ${close}, volume ${exact(bar.volume)}`;
}

/** Return a function that gives the computed colour of a custom property. */
function colourReader() {
  const probe = byId("chart", HTMLDivElement);
  return (/** @type {string} */ name) => {
    probe.style.color = `var(${name})`;
    const colour = getComputedStyle(probe).color;
    probe.style.color = "";
    return colour;
  };
}

/**
 * Return the name of an average, such as "5 min".
 *
 * @param {string} interval
 * @param {number} span
 */
export function spanName(interval, span) {
  return `${UNIT_COUNT[interval] * span} ${UNITS[interval]}`;
}

/**
 * Show the figures of a bar above the chart: exact, from the API's text.
 *
 * @param {Bars} bars
 * @param {Bar | undefined} bar
 * @param {Choice} choice
 */
export function showLegend(bars, bar, choice) {
  const { decimals } = bars;
  const legend = byId("legend", HTMLDListElement);
  if (!bar) return legend.replaceChildren();
  const view = { market: choice.market, seconds: SECONDS[choice.interval], decimals };
  const index = bars.list.indexOf(bar);
  const averages = SPANS.map((span) => ({
    name: `Average ${spanName(choice.interval, span)}`,
    value: index < 0 ? null : averageAt(bars.list, index, span, view),
    mark: `average-${span}`,
  }));
  const price = (/** @type {string} */ text) => format(scaled(text, decimals), decimals);
  const facts = [
    { name: choice.interval === "1d" ? "Day" : "Candle", value: minuteOf(bar.time).slice(0, choice.interval === "1d" ? 10 : 16) },
    { name: "Open", value: price(bar.open) }, { name: "High", value: price(bar.high) },
    { name: "Low", value: price(bar.low) }, { name: "Close", value: price(bar.close) },
    { name: choice.market === "coinm" ? "Contracts" : "Volume", value: exact(bar.volume) },
    { name: "Trades", value: String(bar.trades) }, ...averages,
  ];
  return fillFacts(legend, facts);
}

/**
 * Fill the table below the chart with the newest bars; it is the chart's text form.
 *
 * @param {Bars} bars
 * @param {Choice} choice
 */
export function showCandleTable(bars, choice) {
  const { decimals } = bars;
  const table = byId("candle-table", HTMLTableElement);
  if (!table.closest("details")?.open) return;
  const price = (/** @type {"open" | "high" | "low" | "close"} */ name) => ({
    title: name[0].toUpperCase() + name.slice(1), isNumber: true,
    cell: (/** @type {Bar} */ bar) => format(scaled(bar[name], decimals), decimals),
  });
  fillTable(table, [
    { title: "Open time, UTC", cell: (bar) => minuteOf(bar.time) },
    price("open"), price("high"), price("low"), price("close"),
    { title: "Volume", isNumber: true, cell: (bar) => exact(bar.volume, 2) },
    { title: "VWAP", isNumber: true, cell: (bar) => (bar.vwap === null ? "–" : rounded(bar.vwap, decimals)) },
    { title: "Trades", isNumber: true, cell: (bar) => String(bar.trades) },
  ], bars.list.slice(-TABLE_ROWS).reverse(), `Candles of ${choice.symbol}, ${choice.interval}`);
}
