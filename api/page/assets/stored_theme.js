// Loaded before the first paint, so that a remembered theme does not flash. theme.js changes it.
(() => {
  try {
    const theme = localStorage.getItem("tickhouse-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden; then the page follows the system's theme.
  }
})();
