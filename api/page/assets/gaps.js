// Gaps of the ids that the exchange gave out, as a calendar: one cell per day on which gaps were noticed.

import { get } from "./api.js";
import { byId, element, fillTable, showProblem, showState, walkWithArrows } from "./dom.js";

/**
 * @typedef {import("./types.js").Gap} Gap
 * @typedef {{gaps: number, ids: bigint}} Count
 * @typedef {Map<string, Count>} States Gaps of a day by their state.
 */

const WEEKS = 6;
const DAY_MS = 86_400_000;
const MOST_PAGES = 10;
// Worst first: a cell shows the first state that its day has, as a letter and a colour.
const STATES = [
  { state: "open", mark: "O", meaning: "ids are missing and are being fetched" },
  { state: "unfillable", mark: "U", meaning: "the exchange no longer has the ids" },
  { state: "filled", mark: "F", meaning: "all ids were fetched" },
];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

export function wireGaps() {
  walkWithArrows(byId("gap-calendar", HTMLTableElement), "[role=gridcell]", 7);
  byId("gap-legend", HTMLParagraphElement).textContent =
    STATES.map(({ state, mark, meaning }) => `${mark} ${state}: ${meaning}`).join("; ") + ". Days are UTC.";
}

/**
 * Load and show the gaps of a symbol.
 *
 * @param {string} market
 * @param {string} symbol
 */
export async function refreshGaps(market, symbol) {
  const panel = byId("gap-calendar", HTMLTableElement).closest("section");
  try {
    const gaps = await allGaps(market, symbol);
    const days = byDay(gaps);
    showSummary(symbol, days);
    showCalendar(days);
    showList(days);
    showState(panel, "ready");
    return true;
  } catch (problem) {
    return showProblem(panel, problem);
  }
}

/**
 * @param {string} market
 * @param {string} symbol
 */
async function allGaps(market, symbol) {
  /** @type {Gap[]} */
  const gaps = [];
  let cursor = undefined;
  for (let page = 0; page < MOST_PAGES && cursor !== null; page += 1) {
    const { data, next } = await get("/v1/gaps", { market, symbol, cursor });
    gaps.push(...data);
    cursor = next;
  }
  return gaps;
}

/**
 * Return the gaps by the day on which they were noticed, and by state (pure).
 *
 * @param {readonly Gap[]} gaps
 * @returns {Map<string, States>}
 */
export function byDay(gaps) {
  const days = new Map();
  for (const gap of gaps) {
    const day = gap.detected_at.slice(0, 10);
    const states = days.get(day) ?? new Map();
    const { gaps: number, ids } = states.get(gap.state) ?? { gaps: 0, ids: 0n };
    states.set(gap.state, { gaps: number + 1, ids: ids + BigInt(gap.last_id) - BigInt(gap.first_id) + 1n });
    days.set(day, states);
  }
  return days;
}

/**
 * Return "2 open gaps (153 ids), 1 filled gap (4 ids)" of a day (pure).
 *
 * @param {States | undefined} states
 */
export function described(states) {
  const parts = STATES.flatMap(({ state }) => {
    const found = states?.get(state);
    return found ? [`${found.gaps} ${state} ${plural(found.gaps, "gap")} (${found.ids} ${plural(found.ids, "id")})`] : [];
  });
  return parts.join(", ") || "no gap";
}

/**
 * @param {number | bigint} number
 * @param {string} word
 */
function plural(number, word) {
  return BigInt(number) === 1n ? word : `${word}s`;
}

/**
 * @param {string} symbol
 * @param {Map<string, States>} days
 */
function showSummary(symbol, days) {
  const total = new Map();
  for (const states of days.values()) {
    for (const [state, { gaps, ids }] of states) {
      const sum = total.get(state) ?? { gaps: 0, ids: 0n };
      total.set(state, { gaps: sum.gaps + gaps, ids: sum.ids + ids });
    }
  }
  byId("gaps-summary", HTMLParagraphElement).textContent = `${symbol}: ${described(total)}, on ${days.size} ${plural(days.size, "day")}.`;
}

/** @param {Map<string, States>} days */
function showCalendar(days) {
  const table = byId("gap-calendar", HTMLTableElement);
  const focused = document.activeElement?.getAttribute("data-day");
  const first = firstMonday(days);
  const rows = Array.from({ length: WEEKS }, (_, week) => element("tr", { role: "row" }, ...WEEKDAYS.map((_, weekday) =>
    cell(new Date(first + (week * 7 + weekday) * DAY_MS).toISOString().slice(0, 10), days))));
  const head = element("tr", { role: "row" }, ...WEEKDAYS.map((name) => element("th", { scope: "col", role: "columnheader" }, name)));
  table.replaceChildren(element("thead", { role: "rowgroup" }, head), element("tbody", { role: "rowgroup" }, ...rows));
  const start = (focused && table.querySelector(`[data-day="${focused}"]`)) || table.querySelector("[data-is-newest]");
  if (start instanceof HTMLElement) {
    start.tabIndex = 0;
    if (focused) start.focus();
  }
}

/**
 * Return the Monday, in milliseconds, from which the calendar shows its weeks to the newest day.
 *
 * @param {Map<string, States>} days
 */
function firstMonday(days) {
  const newest = newestDay(days);
  const weekday = (new Date(newest).getUTCDay() + 6) % 7;
  return newest - (weekday + 7 * (WEEKS - 1)) * DAY_MS;
}

/** @param {Map<string, States>} days */
function newestDay(days) {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  return Math.max(today, ...[...days.keys()].map((day) => Date.parse(day)));
}

/**
 * @param {string} day
 * @param {Map<string, States>} days
 */
function cell(day, days) {
  const states = days.get(day);
  const worst = STATES.find(({ state }) => states?.has(state));
  const isFuture = Date.parse(day) > newestDay(days);
  return element("td", {
    role: "gridcell", tabindex: -1, "data-day": day, "data-state": worst?.state ?? (isFuture ? "future" : "none"),
    "data-is-newest": Date.parse(day) === newestDay(days), title: `${day}: ${isFuture ? "not yet" : described(states)}`,
  },
  element("span", { class: "unseen" }, `${day}: ${isFuture ? "not yet" : described(states)}`),
  element("span", { class: "day", "aria-hidden": "true" }, day.slice(8)),
  element("span", { class: "mark", "aria-hidden": "true" }, worst?.mark ?? ""));
}

/** @param {Map<string, States>} days */
function showList(days) {
  const rows = [...days].sort(([a], [b]) => (a < b ? 1 : -1));
  fillTable(byId("gap-table", HTMLTableElement), [
    { title: "Noticed on", cell: ([day]) => day },
    ...STATES.map(({ state }) => ({
      title: state, isNumber: true,
      cell: (/** @type {[string, States]} */ [, states]) => String(states.get(state)?.gaps ?? 0),
    })),
    { title: "Ids", isNumber: true, cell: ([, states]) => String([...states.values()].reduce((sum, { ids }) => sum + ids, 0n)) },
  ], rows, "Gaps by day and state");
}
