// Passages of a document: pointing at one shows it; a click, or the focus on its number, keeps it.
"use strict";

(() => {
  const reader = document.querySelector("[data-reader]");
  const data = document.getElementById("kb-passages");
  if (!reader || !data) return;
  const passages = new Map(JSON.parse(data.textContent).map((one) => [String(one.id), one]));
  const box = reader.querySelector("[data-one]");
  const none = reader.querySelector("[data-none]");
  let chosen = reader.querySelector("a.kb-chunk-on")?.dataset.chunk ?? null;

  const piecesOf = (id) =>
    reader.querySelectorAll(`[data-chunks~="${id}"], [data-chunk="${id}"]`);

  const idAt = (target) => {
    const number = target.closest("[data-chunk]");
    if (number) return number.dataset.chunk;
    // Where two overlap, the later one begins: that is the one pointed at.
    return target.closest("[data-chunks]")?.dataset.chunks.split(" ").at(-1) ?? null;
  };

  const mark = (name, id) => {
    for (const piece of reader.querySelectorAll(`.${name}`)) piece.classList.remove(name);
    if (id) for (const piece of piecesOf(id)) piece.classList.add(name);
  };

  const show = (id) => {
    const passage = passages.get(id);
    box.hidden = !passage;
    none.hidden = Boolean(passage);
    if (!passage) return;
    for (const field of box.querySelectorAll("[data-field]")) {
      const value = passage[field.dataset.field];
      field.textContent = typeof value === "number" ? value.toLocaleString(document.documentElement.lang) : value;
    }
    for (const link of box.querySelectorAll("[data-href]")) link.href = passage[link.dataset.href];
    for (const input of box.querySelectorAll("[data-value]")) input.value = passage[input.dataset.value];
    for (const part of box.querySelectorAll("[data-if]")) {
      part.hidden = passage.enabled !== (part.dataset.if === "enabled");
    }
  };

  const choose = (id) => {
    chosen = id;
    mark("kb-chunk-on", id);
    show(id);
    const address = new URL(location.href);
    if (id) address.searchParams.set("chunk", id);
    else address.searchParams.delete("chunk");
    address.hash = "";
    history.replaceState(null, "", address);
  };

  reader.addEventListener("pointerover", (event) => {
    const id = event.pointerType === "touch" ? null : idAt(event.target);
    mark("kb-chunk-over", id);
    if (id) show(id);
    else if (chosen || event.target.closest(".kb-reading")) show(chosen);
  });
  reader.addEventListener("pointerleave", () => {
    mark("kb-chunk-over", null);
    show(chosen);
  });
  reader.addEventListener("focusin", (event) => {
    const id = event.target.closest("[data-chunk]")?.dataset.chunk;
    if (id) choose(id);
  });
  reader.addEventListener("click", (event) => {
    const id = idAt(event.target);
    if (event.target.closest(".kb-passage")) return;
    const link = event.target.closest("a");
    if (link && !link.dataset.chunk) return;
    if (link) {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
    } else if (!getSelection().isCollapsed) {
      return; // somebody marks text to copy it
    }
    choose(id);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen && reader.contains(document.activeElement)) choose(null);
  });

  const first = chosen && reader.querySelector(`a[data-chunk="${chosen}"]`);
  if (first) {
    // Only the text: the page stays where its heading can be seen.
    const text = reader.querySelector(".kb-reading");
    const down = first.getBoundingClientRect().top - text.getBoundingClientRect().top;
    text.scrollTop += down - text.clientHeight / 3;
    if (location.hash) window.scrollTo(0, 0);
    reader.scrollIntoView({ block: "nearest" });
  }
})();
