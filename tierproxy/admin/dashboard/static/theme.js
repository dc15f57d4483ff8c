// Not a module: it runs before the first paint, so that a dark page is never white for a moment.
(() => {
  let kept = null;
  try { kept = localStorage.getItem("tierproxy.theme"); } catch { /* no storage: the system's theme */ }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
