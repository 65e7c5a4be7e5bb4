// Values of panels as text, by Grafana's names of units, and what a value means by its thresholds.

import { age } from "./time.js";

/**
 * @typedef {import("./types.js").OpsPanel} OpsPanel
 * @typedef {"good" | "late" | "bad" | "wait"} Meaning
 */

/** @type {Record<string, Meaning>} */
const MEANINGS = { green: "good", yellow: "late", orange: "late", red: "bad" };
/** @type {Record<Meaning, string>} */
const WORDS = { good: "well", late: "watch", bad: "bad", wait: "unknown" };
const POWERS = ["", "k", "M", "G", "T", "P"];
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/**
 * Return a value with its unit, such as "12.3 MiB", "4.1 k/s" or "3 min 20 s".
 *
 * @param {number | null | undefined} value
 * @param {string} unit Grafana's name.
 */
export function withUnit(value, unit) {
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "s": return value === 0 || Math.abs(value) >= 1 ? age(value) : `${plain(value * 1000)} ms`;
    case "bytes": return scaledBy(value, 1024, BYTES);
    case "Bps": return `${scaledBy(value, 1024, BYTES)}/s`;
    case "cps": return `${scaledBy(value, 1000, POWERS)}/s`;
    case "percentunit": return `${plain(value * 100)} %`;
    case "percent": return `${plain(value)} %`;
    default: return scaledBy(value, 1000, POWERS);
  }
}

/**
 * @param {number} value
 * @param {number} base
 * @param {string[]} names
 */
function scaledBy(value, base, names) {
  let [power, left] = [0, value];
  while (Math.abs(left) >= base && power < names.length - 1) [power, left] = [power + 1, left / base];
  return `${plain(left)} ${names[power]}`.trim();
}

/** @param {number} value Three digits are enough for a glance. */
function plain(value) {
  return String(Number(value.toPrecision(Math.abs(value) >= 100 ? 4 : 3)));
}

/**
 * Return what a value means, and the text that is shown for it.
 *
 * @param {OpsPanel} panel
 * @param {number | null | undefined} value
 * @returns {{meaning: Meaning, text: string, word: string}}
 */
export function judged(panel, value) {
  if (value === null || value === undefined) return { meaning: "wait", text: "no value", word: WORDS.wait };
  const named = panel.words[String(value)];
  let colour = named?.color;
  for (const step of named ? [] : panel.thresholds) {
    if (step.at_least === null || value >= step.at_least) colour = step.color;
  }
  const meaning = MEANINGS[colour ?? ""] ?? "wait";
  return { meaning, text: named?.text ?? withUnit(value, panel.unit), word: WORDS[meaning] };
}
