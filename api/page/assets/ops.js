// The operations page: the boards of Grafana, drawn from the read API.

import { get } from "./api.js";
import { byId, chip, element, showProblem, showState } from "./dom.js";
import { OpsPanels } from "./ops_panels.js";
import { showFiring } from "./ops_alerts.js";
import { wireTheme } from "./theme.js";

/**
 * @typedef {import("./types.js").OpsBoard} OpsBoard
 * @typedef {import("./types.js").OpsBoardName} OpsBoardName
 */

const [EVERY_MS, RETRY_MS] = [10_000, 5_000]; // Prometheus reads the processes every 10 s
/** @type {Record<string, string>} */
const RANGES = { "15m": "15 minutes", "1h": "1 hour", "6h": "6 hours", "24h": "24 hours" };

const boardSection = byId("board-title", HTMLHeadingElement).closest("section");
const panels = new OpsPanels(byId("panels", HTMLDivElement));
/** @type {OpsBoardName[]} */
let names = [];
/** Which answer is the newest: an older one that comes later is left out. */
let asked = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** What the address has chosen, or the first board and an hour. */
function chosen() {
  const given = new URLSearchParams(location.hash.slice(1));
  const [board, range] = [given.get("board") ?? "", given.get("range") ?? ""];
  return { board: names.some((one) => one.board === board) ? board : names[0]?.board ?? "", range: range in RANGES ? range : "1h" };
}

/** @param {{board?: string, range?: string}} changed */
function choose(changed) {
  history.replaceState(null, "", `#${new URLSearchParams({ ...chosen(), ...changed })}`);
  showState(boardSection, "loading", "Loading panels");
  void turn();
}

/**
 * Fill a group of radio buttons; arrow keys walk in it, as in every group of a browser.
 *
 * @param {string} name
 * @param {[string, string][]} options Value and word.
 */
function fillGroup(name, options) {
  const group = byId(name, HTMLFieldSetElement);
  for (const old of group.querySelectorAll("label")) old.remove();
  for (const [value, word] of options) {
    const radio = element("input", { type: "radio", name, value });
    radio.addEventListener("change", () => choose({ [name === "boards" ? "board" : "range"]: value }));
    group.append(element("label", {}, radio, element("span", {}, word)));
  }
}

function showChoice() {
  const { board, range } = chosen();
  for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#ops-choice input"))) {
    radio.checked = radio.value === board || radio.value === range;
  }
}

/** Load what the address has chosen. Returns whether it came. */
async function refresh() {
  const number = ++asked;
  try {
    if (!names.length) {
      names = (await get("/v1/ops/boards")).data;
      fillGroup("boards", names.map((one) => [one.board, one.title]));
    }
    showChoice();
    const { board, range } = chosen();
    const [found, alerts] = await Promise.all([get(`/v1/ops/boards/${board}`, { range }), get("/v1/ops/alerts")]);
    if (number !== asked) return true;
    showFiring(alerts.data);
    await showBoard(found);
    showConnection("good", "live");
    await showMarketKind();
    return true;
  } catch (problem) {
    if (number === asked) showMissing(problem);
    return false;
  }
}

/** Say it when the market is synthetic. Without an answer the page asks again with its next refresh. */
async function showMarketKind() {
  const badge = byId("market-kind", HTMLParagraphElement);
  try {
    badge.hidden = !(await get("/v1/status")).is_synthetic;
    badge.textContent = "SIMULATED";
  } catch {
    badge.hidden = true;
  }
}

/** @param {OpsBoard} board */
async function showBoard(board) {
  byId("board-title", HTMLHeadingElement).textContent = board.title;
  byId("board-about", HTMLParagraphElement).textContent = board.description;
  document.title = `${board.title} · Tickhouse`;
  showState(boardSection, "ready");
  await panels.show(board);
}

/** @param {unknown} problem */
function showMissing(problem) {
  const { status, detail, next } = /** @type {Partial<import("./api.js").Problem>} */ (problem);
  const isOff = status === 503 && detail === "Prometheus does not run.";
  panels.clear();
  showFiring([]);
  const firing = byId("firing", HTMLOListElement).closest("section");
  if (isOff) {
    showState(boardSection, "empty", "Prometheus does not run, so there is nothing to show. It is part of profile observe.", next);
    showState(firing, "empty", "Without Prometheus nobody judges these alerts. Those of the market are on the other page.");
    showConnection("wait", "off");
  } else {
    showProblem(boardSection, problem);
    showState(firing, "empty", "Not known.");
    showConnection("bad", "no answer");
  }
}

/**
 * @param {"good" | "wait" | "bad"} state
 * @param {string} word
 */
function showConnection(state, word) {
  const shown = byId("connection", HTMLParagraphElement);
  if (shown.textContent === word) return;
  shown.dataset.state = chip(state, word).dataset.state;
  shown.textContent = word;
}

/** Refresh now, and again while the page is visible. */
async function turn() {
  clearTimeout(timer);
  const isWell = document.hidden || await refresh();
  clearTimeout(timer);
  timer = setTimeout(turn, isWell ? EVERY_MS : RETRY_MS);
}

fillGroup("ranges", Object.entries(RANGES));
wireTheme(() => panels.paint());
byId("ops-choice", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => void turn());
document.addEventListener("visibilitychange", () => { if (!document.hidden) void turn(); });
void turn();
