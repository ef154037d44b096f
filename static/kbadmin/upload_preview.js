// The preview: shows how a file or a text is cut, again with every change of the settings. A
// file is sent once; the answer carries its text, and later questions send that.
"use strict";

(() => {
  const panel = document.getElementById("upload-preview");
  if (!panel) return;
  const form = document.getElementById("preview-form");
  const result = document.getElementById("preview-result");
  const file = document.getElementById("preview-file");
  const [size, overlap] = ["preview-size", "preview-overlap"].map((id) => document.getElementById(id));
  const sliders = [...form.querySelectorAll("input[type=range]")];
  const collection = document.getElementById("id_collection");
  let opener = null;

  const ask = () => {
    document.getElementById("preview-collection").value = collection.value;
    htmx.trigger(form, "preview");
  };

  const open = ({ name, blob, title, text, from }) => {
    opener = from;
    const bag = new DataTransfer();
    if (blob) bag.items.add(blob);
    file.files = bag.files;
    document.getElementById("preview-title").value = title ?? "";
    document.getElementById("preview-text").value = text ?? "";
    document.getElementById("preview-name").textContent = name;
    result.replaceChildren();
    panel.hidden = false;
    panel.scrollIntoView({ behavior: "smooth", block: "nearest" });
    size.focus({ preventScroll: true });
    ask();
  };

  const close = () => {
    panel.hidden = true;
    result.replaceChildren();
    file.value = "";
    opener?.focus();
  };

  const slide = () => {
    for (const slider of sliders) slider.value = document.getElementById(slider.dataset.for).value;
  };

  // Whoever is about to type there replaces what came meanwhile, instead of adding to it.
  const fillIn = (field, value) => {
    if (field.value !== "") return;
    field.value = value;
    if (document.activeElement === field) field.select();
  };

  document.addEventListener("kb:preview", (event) => open(event.detail));
  document.getElementById("preview-close").addEventListener("click", close);
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  collection.addEventListener("change", () => {
    // Each collection has sizes of its own, and may have a model of its own.
    size.value = overlap.value = "";
    if (!panel.hidden) ask();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.dataset.for) document.getElementById(event.target.dataset.for).value = event.target.value;
    slide();
  });
  // A sentence that says what is wrong comes with a status of its own, and is shown all the same.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target === result && event.detail.xhr.status === 422) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== result) return;
    const facts = result.querySelector(".kb-preview-facts");
    if (!facts) return;
    file.value = "";
    fillIn(size, facts.dataset.size);
    fillIn(overlap, facts.dataset.overlap);
    sliders[0].max = facts.dataset.limit;
    sliders[1].max = Math.floor(Number(facts.dataset.limit) / 2);
    slide();
  });
})();
