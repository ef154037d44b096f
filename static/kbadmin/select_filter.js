// Django's two boxes label their search icons without saying what they are, which screen
// readers ignore. They are made when the page has loaded.
window.addEventListener("load", () =>
  requestAnimationFrame(() => {
    for (const icon of document.querySelectorAll(".search-label-icon")) {
      icon.setAttribute("role", "img");
    }
  }),
);
