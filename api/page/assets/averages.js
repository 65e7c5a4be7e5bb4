// The moving averages of the chart, the one place where they are computed.
//
// An average over n candles is the volume-weighted average price (VWAP) of the candles whose open
// time is less than n intervals before the open time of the newest: with interval 1m, the 1- and
// 5-minute averages. So the first is the figure that Redis keeps as `minute_average`, and the second
// is what a 5-minute candle that ends here would have as `vwap`. A minute without trades weighs
// nothing.
//
//     average = Σ vwap × weight / Σ weight        weight: volume; on COIN-M quote_volume
//
// On COIN-M a volume counts contracts of a fixed value in USD and quote_volume is base coin, so there
// the coin is the weight (docs/reference/tables.md). Sums are exact; the only roundings are that of
// each `vwap` (16 decimals, by the API) and one at the end.

import { quotient, scaled } from "./decimal.js";

/** @typedef {import("./types.js").Bar} Bar */

const PRICE_SCALE = 16; // decimals of a vwap
const WEIGHT_SCALE = 16; // decimals of a quote volume; a volume has 8

/**
 * Return the average over `count` intervals that ends with the bar at `index`; null without trades.
 *
 * @param {readonly Bar[]} bars Sorted by time.
 * @param {number} index
 * @param {number} count
 * @param {{market: string, seconds: number, decimals: number}} options Length of an interval, and decimals of
 *   the result.
 */
export function averageAt(bars, index, count, { market, seconds, decimals }) {
  const first = bars[index].time - (count - 1) * seconds;
  let sum = 0n;
  let weights = 0n;
  for (let at = index; at >= 0 && bars[at].time >= first; at -= 1) {
    const { vwap, volume, quote_volume: quoteVolume } = bars[at];
    if (vwap === null) continue;
    const weight = scaled(market === "coinm" ? quoteVolume : volume, WEIGHT_SCALE);
    sum += scaled(vwap, PRICE_SCALE) * weight;
    weights += weight;
  }
  return weights > 0n ? quotient(sum, weights * 10n ** BigInt(PRICE_SCALE), decimals) : null;
}
