// Small helpers around the document. Text is always set as text, never as markup.

/**
 * Return the element with an id.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind Its class, such as HTMLTableElement.
 * @returns {T}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`Expected #${id} to be a ${kind.name}, was ${found}`);
  return found;
}

/**
 * Return a new element.
 *
 * @param {string} tag
 * @param {Record<string, string | number | boolean | undefined>} attributes Undefined and false leave one out.
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/**
 * Show the state of a panel above its content; "ready" hides it. Only an error is announced.
 *
 * @param {Element | null} panel The section, or a part of it with one `.state`.
 * @param {"loading" | "ready" | "empty" | "error"} state
 * @param {string} text What happened, in one sentence.
 * @param {string} [next] The command that helps.
 */
export function showState(panel, state, text = "", next = "") {
  const line = panel?.querySelector(".state");
  if (!(line instanceof HTMLElement)) return;
  const key = `${state}|${text}|${next}`;
  if (line.dataset.shown === key) return; // a repeated announcement would be noise
  line.dataset.shown = key;
  line.dataset.state = state;
  line.hidden = state === "ready";
  line.setAttribute("role", state === "error" ? "alert" : "note");
  line.replaceChildren(element("span", {}, text));
  if (next) line.append(" Next: ", element("code", {}, next));
}

/**
 * Show a problem of the API in a panel; returns false, for the caller to return: not refreshed.
 *
 * @param {Element | null} panel
 * @param {unknown} problem
 */
export function showProblem(panel, problem) {
  const { title, detail, next } = /** @type {Partial<import("./api.js").Problem>} */ (problem);
  const text = [title ?? String(problem), detail].filter(Boolean).join(": ");
  showState(panel, "error", text, next);
  return false;
}

/**
 * A column of a table.
 *
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {boolean} [isNumber] Right-aligned, with figures of equal width.
 * @property {boolean} [isWide] Left out on a narrow screen.
 * @property {(row: T) => Node | string} cell
 */

/**
 * Fill a list of names and values. A value that has not changed is not touched, so that a person can
 * select and copy it.
 *
 * @param {HTMLDListElement} list
 * @param {readonly {name: string, value: Node | string | null, mark?: string}[]} facts Null is shown as a dash.
 */
export function fillFacts(list, facts) {
  const names = [...list.querySelectorAll("dt")].map((one) => one.textContent);
  if (names.join("\n") !== facts.map(({ name }) => name).join("\n")) {
    list.replaceChildren(...facts.map(({ name, mark }) =>
      element("div", { "data-mark": mark }, element("dt", {}, name), element("dd"))));
  }
  const cells = list.querySelectorAll("dd");
  facts.forEach(({ value }, at) => {
    if (value instanceof Node) cells[at].replaceChildren(value);
    else setText(cells[at], value ?? "–");
  });
}

/**
 * Set the text of an element if it is another one.
 *
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Fill a table. The focus stays on the element with the same `data-key`.
 *
 * @template T
 * @param {HTMLTableElement} table
 * @param {Column<T>[]} columns The first one is the row's header.
 * @param {readonly T[]} rows
 * @param {string} caption Spoken name of the table; "" where a heading names it.
 */
export function fillTable(table, columns, rows, caption = "") {
  const focused = table.contains(document.activeElement) ? document.activeElement?.getAttribute("data-key") : null;
  const classes = (/** @type {Column<T>} */ column) =>
    [column.isNumber ? "number" : "", column.isWide ? "wide" : ""].join(" ").trim() || undefined;
  const head = element("tr", {}, ...columns.map((column) =>
    element("th", { scope: "col", class: classes(column) }, column.title)));
  const body = rows.map((row) => element("tr", {}, ...columns.map((column, at) =>
    element(at ? "td" : "th", { scope: at ? undefined : "row", class: classes(column) }, column.cell(row)))));
  table.replaceChildren(
    ...(caption ? [element("caption", { class: "unseen" }, caption)] : []),
    element("thead", {}, rows.length ? head : ""),
    element("tbody", {}, ...body),
  );
  const again = focused && table.querySelector(`[data-key="${CSS.escape(focused)}"]`);
  if (again instanceof HTMLElement) again.focus();
}

/**
 * Return a chip: a mark, a word and a colour, so that the colour never stands alone.
 *
 * @param {"good" | "late" | "bad" | "wait"} state
 * @param {string} word
 */
export function chip(state, word) {
  return element("span", { class: "chip", "data-state": state }, word);
}

/**
 * Let arrow keys, Home and End move the focus among the items of a container.
 *
 * @param {HTMLElement} container
 * @param {string} selector Of the items, in the order in which they are walked.
 * @param {number} perRow Items of a row: left and right move by one, up and down by a row.
 */
export function walkWithArrows(container, selector, perRow) {
  container.addEventListener("keydown", (event) => {
    const items = [...container.querySelectorAll(selector)].filter((one) => one instanceof HTMLElement);
    const here = items.findIndex((one) => one === document.activeElement);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow, Home: -here, End: items.length - 1 - here };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    const target = here < 0 || step === undefined ? undefined : items[here + step];
    if (!target) return;
    event.preventDefault();
    for (const one of items) one.tabIndex = one === target ? 0 : -1; // one stop of the tab key per container
    target.focus();
  });
}
