// Copies the text of the element that the button names.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = button.dataset.copied;
  } catch {
    // Without https there is no clipboard: select the text, so that Ctrl+C does it.
    window.getSelection().selectAllChildren(source);
  }
});
