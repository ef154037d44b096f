// Watching an upload: bars that never move back, a sentence that is read out once, and no
// questions while nobody looks.
"use strict";

(() => {
  const seen = new Map();

  const hold = () => {
    for (const bar of document.querySelectorAll("#upload-batch progress[data-row]")) {
      const most = Math.max(seen.get(bar.dataset.row) ?? 0, bar.value);
      seen.set(bar.dataset.row, most);
      bar.value = most;
    }
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id === "upload-batch") event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", hold);
  document.addEventListener("htmx:afterSettle", () => {
    const batch = document.getElementById("upload-batch");
    const said = document.getElementById("upload-said");
    const sentence = batch && batch.dataset.sentence;
    if (said && sentence && said.textContent !== sentence) said.textContent = sentence;
  });
  hold();
})();
