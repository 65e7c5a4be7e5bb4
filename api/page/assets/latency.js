// How long a trade takes from the exchange's clock to this screen, over the last minute.

const WINDOW_MS = 60_000;
const MOST = 120_000; // 2,000 trades per second for a minute

export class Latencies {
  constructor() {
    /** @type {{at: number, ms: number}[]} */
    this.samples = [];
    this.first = 0; // samples before this index are older than the window
  }

  /**
   * Add the trades that were painted at a time.
   *
   * @param {number} paintedAt Milliseconds since 1970.
   * @param {readonly number[]} tradeTimes Milliseconds since 1970.
   */
  add(paintedAt, tradeTimes) {
    for (const time of tradeTimes) this.samples.push({ at: paintedAt, ms: paintedAt - time });
    while (this.first < this.samples.length && this.samples[this.first].at < paintedAt - WINDOW_MS) this.first += 1;
    this.first = Math.max(this.first, this.samples.length - MOST);
    if (this.first > MOST) {
      this.samples = this.samples.slice(this.first);
      this.first = 0;
    }
  }

  /** Forget everything: the samples are of another symbol. */
  clear() {
    this.samples = [];
    this.first = 0;
  }

  /** Return count, median and 95th percentile in milliseconds, or null without trades. */
  summary() {
    const sorted = this.samples.slice(this.first).map(({ ms }) => ms).sort((a, b) => a - b);
    if (!sorted.length) return null;
    const at = (/** @type {number} */ share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
    return { count: sorted.length, median: at(0.5), p95: at(0.95) };
  }
}
