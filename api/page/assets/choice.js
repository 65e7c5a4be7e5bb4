// The chosen market, symbol and interval: in the form, and in the address, so that a link leads to it.

import { byId, element } from "./dom.js";
import { SECONDS } from "./time.js";

/**
 * @typedef {import("./types.js").Choice} Choice
 * @typedef {import("./types.js").Interval} Interval
 * @typedef {import("./types.js").SymbolRow} SymbolRow
 */

export class ChoiceForm {
  /** @param {(choice: Choice) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.value = choiceOfAddress();
    /** @type {SymbolRow[]} */
    this.symbols = [];
    this.market = byId("market", HTMLSelectElement);
    this.symbol = byId("symbol", HTMLSelectElement);
    this.#wire();
    this.#show();
  }

  /**
   * Choose something else.
   *
   * @param {Partial<Choice>} changed
   */
  choose(changed) {
    this.value = { ...this.value, ...changed };
    history.replaceState(null, "", `#${new URLSearchParams({ ...this.value })}`);
    this.#show();
    this.onChange(this.value);
  }

  /**
   * Offer these symbols. Where the choice is not among them, the one that traded last is chosen.
   *
   * @param {SymbolRow[]} symbols
   */
  offer(symbols) {
    this.symbols = symbols;
    const isKnown = symbols.some(({ market, symbol }) => market === this.value.market && symbol === this.value.symbol);
    const newest = [...symbols].sort((a, b) => ((a.last_trade_time ?? "") < (b.last_trade_time ?? "") ? 1 : -1))[0];
    if (isKnown || !newest) this.#show();
    else this.choose({ market: newest.market, symbol: newest.symbol });
  }

  #wire() {
    byId("choice", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    this.market.addEventListener("change", () => {
      const first = this.symbols.find(({ market }) => market === this.market.value);
      this.choose({ market: this.market.value, symbol: first?.symbol ?? "" });
    });
    this.symbol.addEventListener("change", () => this.choose({ symbol: this.symbol.value }));
    for (const radio of this.#radios()) {
      radio.addEventListener("change", () => this.choose({ interval: /** @type {Interval} */ (radio.value) }));
    }
    addEventListener("hashchange", () => this.choose(choiceOfAddress()));
  }

  #radios() {
    return /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[name=interval]"));
  }

  #show() {
    const { market, symbol, interval } = this.value;
    fillSelect(this.market, [...new Set(this.symbols.map((row) => row.market))], market);
    fillSelect(this.symbol, this.symbols.filter((row) => row.market === market).map((row) => row.symbol), symbol);
    for (const radio of this.#radios()) radio.checked = radio.value === interval;
    byId("chart-title", HTMLHeadingElement).textContent = symbol ? `${symbol} ${market}` : "Chart";
  }
}

/** @returns {Choice} */
function choiceOfAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const interval = /** @type {Interval} */ (given.get("interval"));
  return { market: given.get("market") ?? "", symbol: given.get("symbol") ?? "", interval: interval in SECONDS ? interval : "1m" };
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[]} values
 * @param {string} chosen It is offered although it is not among the values: its link may be newer than they are.
 */
function fillSelect(select, values, chosen) {
  const offered = chosen && !values.includes(chosen) ? [chosen, ...values] : values;
  const shown = [...select.options].map(({ value }) => value);
  if (shown.join("\n") !== offered.join("\n")) {
    select.replaceChildren(...offered.map((value) => element("option", { value }, value)));
  }
  select.value = chosen;
}
