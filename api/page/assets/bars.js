// The bars of the chart: candles of the API, and on top of the newest one the trades that have come
// since. A pure data structure; chart.js draws it.
//
// A candle of the API replaces its bar. A trade only moves the close, the high and the low of the
// newest bar, or begins the next one; a repeat of it changes nothing. Volumes and averages come from
// candles alone, because a trade that is added twice would count twice. A candle may come later than
// trades that it does not have yet: what they say about its bar is kept.

import { compare, decimalsOf } from "./decimal.js";
import { secondsOf } from "./time.js";

/**
 * @typedef {import("./types.js").Bar} Bar
 * @typedef {import("./types.js").Candle} Candle
 * @typedef {import("./types.js").TradeEvent} TradeEvent
 * @typedef {{time: number, high: string, low: string, close: string, closeId: bigint}} Seen
 */

export class Bars {
  /** @param {number} seconds Length of an interval. */
  constructor(seconds) {
    this.seconds = seconds;
    /** @type {Bar[]} Sorted by time. */
    this.list = [];
    /** @type {Seen | null} What the trades of the newest bar say. */
    this.seen = null;
    this.decimals = 2; // show every digit of every price so far
  }

  /**
   * Put candles into their places.
   *
   * @param {readonly Candle[]} candles
   * @returns {boolean} Whether a bar other than the newest has changed, so that all must be drawn again.
   */
  applyCandles(candles) {
    let isOld = false;
    for (const candle of candles) {
      const bar = this.#withSeen({ ...candle, time: secondsOf(candle.open_time) });
      this.decimals = decimalsOf([bar.open, bar.high, bar.low, bar.close], this.decimals);
      const at = this.#place(bar.time);
      isOld ||= at < this.list.length - 1 || (at < this.list.length && this.list[at].time !== bar.time);
      this.list.splice(at, this.list[at]?.time === bar.time ? 1 : 0, bar);
    }
    return isOld;
  }

  /**
   * Move the newest bar, or begin the next one.
   *
   * @param {TradeEvent} trade
   * @returns {boolean} Whether anything changed.
   */
  applyTrade(trade) {
    const time = Math.floor(secondsOf(trade.trade_time) / this.seconds) * this.seconds;
    const newest = this.list.at(-1);
    if (newest && time < newest.time) return false; // the candle of that time will come, whole
    if (compare(trade.price, "0") <= 0) return false; // Binance's marks for "no price" are in no candle
    this.decimals = decimalsOf([trade.price], this.decimals);
    const id = BigInt(trade.event_id.slice(trade.event_id.lastIndexOf(":") + 1));
    this.seen = grown(this.seen?.time === time ? this.seen : null, time, trade.price, id);
    const bar = newest?.time === time ? newest : begun(time, trade.price);
    if (bar !== newest) this.list.push(bar);
    this.list[this.list.length - 1] = this.#withSeen(bar);
    return true;
  }

  /** Forget the trades, because some were missed: the next candle decides. */
  forgetTrades() {
    this.seen = null;
  }

  /** @param {number} time */
  at(time) {
    const bar = this.list[this.#place(time)];
    return bar?.time === time ? bar : undefined;
  }

  /** @param {Bar} bar */
  #withSeen(bar) {
    const seen = this.seen;
    if (!seen || seen.time !== bar.time) return bar;
    return {
      ...bar,
      high: compare(seen.high, bar.high) > 0 ? seen.high : bar.high,
      low: compare(seen.low, bar.low) < 0 ? seen.low : bar.low,
      close: seen.close,
    };
  }

  /**
   * Return the index of the first bar that is not before a time.
   *
   * @param {number} time
   */
  #place(time) {
    let [low, high] = [0, this.list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle].time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * @param {Seen | null} seen
 * @param {number} time
 * @param {string} price
 * @param {bigint} id
 * @returns {Seen}
 */
function grown(seen, time, price, id) {
  if (!seen) return { time, high: price, low: price, close: price, closeId: id };
  const isNewest = id > seen.closeId; // the close is the trade with the highest id, as in every store
  return {
    time,
    high: compare(price, seen.high) > 0 ? price : seen.high,
    low: compare(price, seen.low) < 0 ? price : seen.low,
    close: isNewest ? price : seen.close,
    closeId: isNewest ? id : seen.closeId,
  };
}

/**
 * @param {number} time
 * @param {string} price
 * @returns {Bar}
 */
function begun(time, price) {
  return {
    time, open_time: new Date(time * 1000).toISOString(), open: price, high: price, low: price, close: price,
    volume: "0", quote_volume: "0", vwap: null, trades: 0, is_closed: false,
  };
}
