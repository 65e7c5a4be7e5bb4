// A chart of lines with lightweight-charts. The table below it has the same series as text.

/**
 * @typedef {import("./types.js").OpsSeries} OpsSeries
 * @typedef {typeof import("./lightweight-charts.js")} Library
 */

import { withUnit } from "./ops_units.js";
import { minuteOf } from "./time.js";

export const COLOURS = 8; // --line-1 to --line-8 of ops.css
const DASHES = 3;

/**
 * Return how the line at an index looks: colour and dash, so that lines differ without colours too.
 *
 * @param {number} index
 */
export function lookOf(index) {
  return { line: (index % COLOURS) + 1, dash: (Math.floor(index / COLOURS) + (index % COLOURS)) % DASHES };
}

export class LineChart {
  /**
   * @param {Library} library
   * @param {HTMLElement} box
   * @param {string} unit
   */
  constructor(library, box, unit) {
    this.library = library;
    this.box = box;
    // attributionLogo adds a <style>, which the content security policy refuses; the footer has the link.
    this.chart = library.createChart(box, {
      autoSize: true,
      handleScroll: false, // a finger on the chart scrolls the page
      handleScale: false,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily },
      localization: {
        locale: "en-GB",
        timeFormatter: (/** @type {any} */ time) => `${minuteOf(time)} UTC`,
        priceFormatter: (/** @type {number} */ value) => withUnit(value, unit),
      },
      timeScale: { timeVisible: true, secondsVisible: false },
      rightPriceScale: { scaleMargins: { top: 0.08, bottom: 0.04 } },
    });
    /** @type {any[]} */
    this.lines = [];
    /** @type {string} */
    this.names = "";
    this.paint();
  }

  /** Take the colours of the theme. */
  paint() {
    const colour = colourReader(this.box);
    const grid = { color: colour("--grid") };
    const label = { labelBackgroundColor: colour("--label") };
    this.chart.applyOptions({
      layout: { background: { color: colour("--panel") }, textColor: colour("--quiet") },
      grid: { vertLines: grid, horzLines: grid },
      crosshair: { vertLine: label, horzLine: label },
      rightPriceScale: { borderColor: grid.color },
      timeScale: { borderColor: grid.color },
    });
    this.lines.forEach((line, at) => line.applyOptions({ color: colour(`--line-${lookOf(at).line}`) }));
  }

  /**
   * Draw these series; the lines of the last time stay where the names are the same.
   *
   * @param {readonly OpsSeries[]} series
   */
  draw(series) {
    const names = series.map(({ name }) => name).join("\n");
    if (names !== this.names) {
      for (const line of this.lines) this.chart.removeSeries(line);
      this.lines = series.map((_, at) => this.#line(at));
      this.names = names;
      this.paint();
    }
    series.forEach(({ points }, at) => this.lines[at].setData(points.map(([time, value]) => (value === null ? { time } : { time, value }))));
    this.chart.timeScale().fitContent();
  }

  /** Free the canvas. */
  remove() {
    this.chart.remove();
  }

  /** @param {number} at */
  #line(at) {
    const { LineStyle, LineSeries } = this.library;
    const lineStyle = [LineStyle.Solid, LineStyle.Dashed, LineStyle.Dotted][lookOf(at).dash];
    return this.chart.addSeries(LineSeries, {
      lineWidth: 2, lineStyle, priceLineVisible: false, lastValueVisible: false,
      // A flat line at 0 lies at the bottom, not in the middle of the chart.
      autoscaleInfoProvider: (/** @type {() => any} */ original) => {
        const found = original();
        if (found?.priceRange) found.priceRange.minValue = Math.min(0, found.priceRange.minValue);
        if (found?.priceRange?.maxValue === 0) found.priceRange.maxValue = 1;
        return found;
      },
    });
  }
}

/** @param {HTMLElement} probe */
function colourReader(probe) {
  return (/** @type {string} */ name) => {
    probe.style.color = `var(${name})`;
    const colour = getComputedStyle(probe).color;
    probe.style.color = "";
    return colour;
  };
}
