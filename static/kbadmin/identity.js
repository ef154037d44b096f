// The plugin's own page: what is typed is judged after a pause, and a change that is not saved
// is not lost without a question.
"use strict";

(() => {
  const form = document.getElementById("identity-form");
  const panel = document.getElementById("identity-judged");
  if (!form || !panel || !panel.hasAttribute("hx-post")) return;
  let isDirty = form.dataset.dirty === "1";
  let waiting = 0;

  const judge = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => htmx.trigger(panel, "judge"), 350);
  };

  // The picture beside the form also stands in the previews.
  const showLogo = () => {
    const logo = form.querySelector("[data-logo]");
    for (const image of panel.querySelectorAll("img.kb-preview-logo")) image.src = logo.src;
  };

  const offerDefault = (field) => {
    const button = field.closest(".kb-field")?.querySelector(".kb-identity-default");
    if (button) button.hidden = field.value === button.dataset.text;
  };

  form.addEventListener("input", (event) => {
    isDirty = true;
    if (event.target.type === "file") return;
    offerDefault(event.target);
    judge();
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fills]");
    if (!button) return;
    const field = document.getElementById(button.dataset.fills);
    field.value = button.dataset.text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus();
  });
  form.addEventListener("submit", () => {
    isDirty = false;
  });
  window.addEventListener("beforeunload", (event) => {
    if (isDirty) event.preventDefault();
  });
  // A sentence that says why a picture is refused comes with a status of its own.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status === 422 && event.detail.target.id === "identity-logo") {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (["identity-judged", "identity-logo"].includes(event.detail.target.id)) showLogo();
  });
})();
