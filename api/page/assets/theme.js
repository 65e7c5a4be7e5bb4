// Light, dark, or as the system has it; remembered in this browser.

import { byId } from "./dom.js";

const KEY = "tickhouse-theme"; // stored_theme.js reads the same key before the first paint

/** @param {() => void} onChange Called after each change, also one of the system. */
export function wireTheme(onChange) {
  const select = byId("theme", HTMLSelectElement);
  select.value = document.documentElement.dataset.theme ?? "auto";
  select.addEventListener("change", () => {
    if (select.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
    remember(select.value);
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
}

/** @param {string} theme */
function remember(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Storage may be forbidden; the choice then lasts until the page is closed.
  }
}
