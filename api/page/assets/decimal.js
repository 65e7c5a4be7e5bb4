// Exact decimals as text. No price or amount becomes a float before a person reads it; the chart's
// pixels are the only place where a number is enough (chart.js).

const DECIMAL = /^([+-]?)(\d+)(?:\.(\d+))?$/;

/**
 * Return the digits of a decimal text and how many of them are behind the point.
 *
 * @param {string} text Such as "-12.50"; no exponent.
 * @returns {{digits: bigint, scale: number}}
 * @throws {RangeError} The text is no decimal.
 */
export function parse(text) {
  const found = DECIMAL.exec(text);
  if (!found) throw new RangeError(`Expected a decimal, was ${JSON.stringify(text)}`);
  const [, sign, whole, fraction = ""] = found;
  const digits = BigInt(whole + fraction);
  return { digits: sign === "-" ? -digits : digits, scale: fraction.length };
}

/**
 * Return the text of `digits` / 10^`scale`, with exactly `scale` decimals.
 *
 * @param {bigint} digits
 * @param {number} scale
 */
export function format(digits, scale) {
  const sign = digits < 0n ? "-" : "";
  const text = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, "0");
  const point = text.length - scale;
  return sign + text.slice(0, point) + (scale > 0 ? `.${text.slice(point)}` : "");
}

/**
 * Return the digits of a decimal text at a scale; digits behind it must be zeros or are cut.
 *
 * @param {string} text
 * @param {number} scale
 */
export function scaled(text, scale) {
  const { digits, scale: own } = parse(text);
  return own <= scale ? digits * 10n ** BigInt(scale - own) : digits / 10n ** BigInt(own - scale);
}

/**
 * Return whether `a` is smaller (-1), equal (0) or greater (1) than `b`.
 *
 * @param {string} a
 * @param {string} b
 */
export function compare(a, b) {
  const scale = Math.max(parse(a).scale, parse(b).scale);
  const [left, right] = [scaled(a, scale), scaled(b, scale)];
  return left < right ? -1 : Number(left > right);
}

/**
 * Return `numerator` / `denominator` at a scale, rounded half up (away from zero).
 *
 * @param {bigint} numerator
 * @param {bigint} denominator Greater than zero.
 * @param {number} scale Decimals of the result.
 */
export function quotient(numerator, denominator, scale) {
  const sign = numerator < 0n ? -1n : 1n;
  const shifted = sign * numerator * 10n ** BigInt(scale);
  return format(sign * ((2n * shifted + denominator) / (2n * denominator)), scale);
}

/**
 * Return a text rounded half up to some decimals.
 *
 * @param {string} text
 * @param {number} decimals
 */
export function rounded(text, decimals) {
  const { digits, scale } = parse(text);
  return quotient(digits, 10n ** BigInt(scale), decimals);
}

/**
 * Return how many decimals show every digit of these texts that is not a trailing zero.
 *
 * @param {Iterable<string>} texts
 * @param {number} least
 */
export function decimalsOf(texts, least = 2) {
  let most = least;
  for (const text of texts) {
    const fraction = text.split(".")[1] ?? "";
    most = Math.max(most, fraction.replace(/0+$/, "").length);
  }
  return most;
}

/**
 * Return a text with all its digits, without the zeros behind `least` decimals that carry no information.
 *
 * @param {string} text
 * @param {number} least
 */
export function exact(text, least = 0) {
  const decimals = decimalsOf([text], least);
  return format(scaled(text, decimals), decimals);
}

/**
 * Return a short form for a table, such as "12.35 M"; the exact text belongs beside it as a title.
 *
 * @param {string} text
 */
export function compact(text) {
  const whole = parse(text).digits / 10n ** BigInt(parse(text).scale);
  const length = (whole < 0n ? -whole : whole).toString().length;
  const unit = [{ digits: 12, name: " T" }, { digits: 9, name: " G" }, { digits: 6, name: " M" }, { digits: 3, name: " k" }]
    .find(({ digits }) => length > digits);
  if (!unit) return rounded(text, 2);
  const { digits, scale } = parse(text);
  return quotient(digits, 10n ** BigInt(scale + unit.digits), 2) + unit.name;
}
