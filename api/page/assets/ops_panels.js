// The panels of a board. A panel stays in the document while its board is shown, so that the focus
// and the scroll position of a person stay where they are.

import { chip, element, fillTable, setText } from "./dom.js";
import { LineChart, lookOf } from "./ops_lines.js";
import { judged, withUnit } from "./ops_units.js";

/**
 * @typedef {import("./types.js").OpsBoard} OpsBoard
 * @typedef {import("./types.js").OpsPanel} OpsPanel
 * @typedef {import("./types.js").OpsSeries} OpsSeries
 * @typedef {typeof import("./lightweight-charts.js")} Library
 */

const NOTHING = "No value in this time: what it measures does not run, or has not reported yet.";

export class OpsPanels {
  /** @param {HTMLElement} grid */
  constructor(grid) {
    this.grid = grid;
    this.board = "";
    /** @type {Map<number, {section: HTMLElement, chart: LineChart | null}>} */
    this.shown = new Map();
    /** @type {Promise<Library | null> | null} */
    this.library = null;
  }

  /** @param {OpsBoard} board */
  async show(board) {
    if (board.board !== this.board) this.clear();
    this.board = board.board;
    this.library ??= import("./lightweight-charts.js").catch((error) => { console.warn(error); return null; });
    const library = await this.library;
    if (board.board !== this.board) return; // another one was chosen meanwhile
    for (const panel of board.panels) this.#fill(this.shown.get(panel.panel) ?? this.#make(panel), panel, library);
  }

  /** Remove all panels. */
  clear() {
    for (const { chart } of this.shown.values()) chart?.remove();
    this.shown.clear();
    this.grid.replaceChildren();
    this.board = "";
  }

  /** Take the colours of another theme. */
  paint() {
    for (const { chart } of this.shown.values()) chart?.paint();
  }

  /** @param {OpsPanel} panel */
  #make(panel) {
    const title = `ops-${panel.panel}`;
    const section = element("section", { class: "panel", "data-kind": panel.kind, "data-width": panel.width, "aria-labelledby": title },
      element("h3", { id: title }, panel.title),
      element("p", { class: "hint" }, panel.description),
      element("p", { class: "state", "data-state": "empty" }),
      element("p", { class: "ops-value" }),
      element("div", { class: "ops-lines", role: "img" }),
      element("div", { class: "scroll" }, element("table", { "aria-labelledby": title })));
    this.grid.append(section);
    /** @type {{section: HTMLElement, chart: LineChart | null}} */
    const made = { section, chart: null };
    this.shown.set(panel.panel, made);
    return made;
  }

  /**
   * @param {{section: HTMLElement, chart: LineChart | null}} made
   * @param {OpsPanel} panel
   * @param {Library | null} library
   */
  #fill(made, panel, library) {
    const part = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (made.section.querySelector(selector));
    const isEmpty = panel.series.length === 0;
    const problem = panel.problem === null ? (isEmpty ? NOTHING : "") : `Prometheus refused the query: ${panel.problem}`;
    const [state, value, box, scroll] = [".state", ".ops-value", ".ops-lines", ".scroll"].map(part);
    state.hidden = !problem;
    state.dataset.state = panel.problem === null ? "empty" : "error";
    setText(state, problem);
    const isLines = panel.kind === "timeseries";
    value.hidden = isEmpty || panel.kind !== "stat";
    box.hidden = isEmpty || !isLines || !library;
    scroll.hidden = isEmpty || panel.kind === "stat";
    if (!value.hidden) showStat(value, panel);
    if (!box.hidden && library) {
      made.chart ??= new LineChart(library, box, panel.unit);
      made.chart.draw(panel.series);
      box.setAttribute("aria-label", `Chart of ${panel.title}; the table below has its ${panel.series.length} series`);
    }
    if (!scroll.hidden) {
      // The chart has a table of its own, so the selector names where ours is.
      fillSeries(/** @type {HTMLTableElement} */ (part(".scroll table")), panel);
      makeReachable(scroll, panel.title);
    }
  }
}

/**
 * @param {HTMLElement} place
 * @param {OpsPanel} panel
 */
function showStat(place, panel) {
  const [series] = panel.series;
  const { meaning, text, word } = judged(panel, newestOf(series));
  const isPlain = panel.thresholds.length < 2 && !Object.keys(panel.words).length;
  if (isPlain) return setText(place, text);
  const shown = chip(meaning, text);
  shown.append(element("span", { class: "unseen" }, `, ${word}`));
  return place.replaceChildren(shown);
}

/**
 * @param {HTMLTableElement} table
 * @param {OpsPanel} panel
 */
function fillSeries(table, panel) {
  const isLines = panel.kind === "timeseries";
  const rows = panel.series.map((series, at) => ({ series, at }));
  // What is bad, or large, is what a person looks for.
  rows.sort((a, b) => (newestOf(b.series) ?? -Infinity) - (newestOf(a.series) ?? -Infinity));
  if (Object.keys(panel.words).length) rows.sort((a, b) => rank(panel, b.series) - rank(panel, a.series));
  fillTable(table, [
    { title: "Series", cell: ({ series, at }) => (isLines ? withSwatch(series.name, at) : series.name) },
    { title: "Newest", isNumber: true, cell: ({ series }) => (isLines ? withUnit(newestOf(series), panel.unit) : valueChip(panel, series)) },
    ...(isLines ? [{ title: "Most", isNumber: true, cell: (/** @type {{series: OpsSeries}} */ { series }) => withUnit(mostOf(series), panel.unit) }] : []),
  ], rows);
}

/**
 * A region that scrolls must be reachable with keys; one that does not scroll must not be a stop.
 *
 * @param {HTMLElement} region
 * @param {string} title
 */
function makeReachable(region, title) {
  const isScrolling = region.scrollHeight > region.clientHeight || region.scrollWidth > region.clientWidth;
  if (!isScrolling) {
    for (const name of ["tabindex", "role", "aria-label"]) region.removeAttribute(name);
    return;
  }
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", `Table of ${title}`);
}

/**
 * @param {OpsPanel} panel
 * @param {OpsSeries} series
 */
function rank(panel, series) {
  return ["good", "wait", "late", "bad"].indexOf(judged(panel, newestOf(series)).meaning);
}

/**
 * @param {string} name
 * @param {number} at
 */
function withSwatch(name, at) {
  const { line, dash } = lookOf(at);
  return element("span", {}, element("span", { class: "swatch", "data-line": line, "data-dash": dash, "aria-hidden": "true" }), name);
}

/**
 * @param {OpsPanel} panel
 * @param {OpsSeries} series
 */
function valueChip(panel, series) {
  const { meaning, text } = judged(panel, newestOf(series));
  return panel.thresholds.length < 2 ? text : chip(meaning, text);
}

/** @param {OpsSeries | undefined} series */
function newestOf(series) {
  return series?.points.at(-1)?.[1];
}

/** @param {OpsSeries} series */
function mostOf(series) {
  const values = series.points.map(([, value]) => value).filter((value) => value !== null);
  return values.length ? Math.max(...values) : null;
}
