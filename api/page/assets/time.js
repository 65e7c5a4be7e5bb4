// Times and ages as text. Every time on the page is UTC, and says so where it stands alone.

/** @type {Record<import("./types.js").Interval, number>} */
export const SECONDS = { "1m": 60, "5m": 300, "1h": 3600, "1d": 86_400 };

/**
 * Return seconds since 1970 of an ISO 8601 time.
 *
 * @param {string} text
 */
export function secondsOf(text) {
  return Math.floor(Date.parse(text) / 1000);
}

/**
 * Return "2024-08-08 12:30:05" of a time; the text of the API with another separator.
 *
 * @param {string} text ISO 8601, UTC.
 */
export function readable(text) {
  return text.slice(0, 19).replace("T", " ");
}

/**
 * Return "2024-08-08 12:30" of seconds since 1970.
 *
 * @param {number} seconds
 */
export function minuteOf(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
}

/**
 * Return an age for people, such as "0.4 s", "3 min 20 s" or "2 days".
 *
 * @param {number} seconds
 */
export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} days`;
}
