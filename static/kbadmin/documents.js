// Narrows the list as soon as a choice is made; without this script there is the button.
"use strict";

document.getElementById("kb-filters")?.addEventListener("change", (event) => {
  if (event.target.matches("select, input[list], input[type=date]")) {
    event.currentTarget.requestSubmit();
  }
});

// Empty fields would only make the address long.
document.getElementById("kb-filters")?.addEventListener("submit", (event) => {
  for (const field of event.currentTarget.elements) {
    if (field.name && !field.value) field.disabled = true;
  }
});

// Coming back, the page may be as it was left.
window.addEventListener("pageshow", () => {
  for (const field of document.getElementById("kb-filters")?.elements ?? []) {
    field.disabled = false;
  }
});
