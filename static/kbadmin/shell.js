// What every admin page has: the browser's time zone, the command palette, the keyboard
// shortcuts, and polling that rests while nobody looks.
"use strict";

(() => {
  // --- Times are told in the browser's zone, from the next page on ----------------------
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && /^[\w+\-/]+$/.test(zone)) {
    const secure = window.location.protocol === "https:" ? "; secure" : "";
    document.cookie = `kbadmin_timezone=${zone}; path=/admin; max-age=31536000; samesite=lax${secure}`;
  }

  // --- Nothing asks the server again and again from a tab that nobody sees --------------
  document.addEventListener("htmx:beforeRequest", (event) => {
    const trigger = event.detail.elt.getAttribute("hx-trigger") || "";
    if (document.hidden && /\bevery\b/.test(trigger)) event.preventDefault();
  });

  const palette = () => document.getElementById("kb-palette");
  const help = () => document.getElementById("kb-shortcuts");
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

  const SWITCH = "kbadmin-shortcuts";
  const areOn = () => localStorage.getItem(SWITCH) !== "off";

  // --- Dialogs --------------------------------------------------------------------------
  const open = (dialog) => {
    if (!dialog || dialog.open) return;
    for (const other of document.querySelectorAll("dialog[open]")) other.close();
    dialog.showModal();
    if (dialog === palette()) {
      const field = document.getElementById("kb-palette-query");
      field.value = "";
      field.focus();
      look();
    }
  };

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    const dialog = event.target.closest("dialog.kb-dialog");
    if (opener && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      open(document.getElementById(opener.dataset.opens));
    } else if (dialog && (event.target === dialog || event.target.closest("[data-closes]"))) {
      dialog.close();
    }
  });

  // --- The palette ----------------------------------------------------------------------
  let waiting = 0;
  let asking = null;

  const options = () => [...document.querySelectorAll("#kb-palette-results [role=option]")];

  const choose = (option) => {
    for (const other of options()) other.setAttribute("aria-selected", String(other === option));
    const field = document.getElementById("kb-palette-query");
    if (option) {
      field.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else {
      field.removeAttribute("aria-activedescendant");
    }
  };

  const chosen = () => options().find((option) => option.getAttribute("aria-selected") === "true");

  const look = async () => {
    const results = document.getElementById("kb-palette-results");
    const said = document.getElementById("kb-palette-said");
    const query = document.getElementById("kb-palette-query").value.trim();
    if (asking) asking.abort();
    const mine = (asking = new AbortController());
    try {
      const address = `${palette().dataset.url}?${new URLSearchParams({ s: query })}`;
      const answer = await fetch(address, {
        headers: { "X-Requested-With": "palette" },
        signal: mine.signal,
      });
      // Logged out meanwhile: the way to the login form leads over this page.
      if (answer.redirected) return window.location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      results.innerHTML = await answer.text();
      choose(options()[0]);
      said.textContent = options().length || results.textContent.trim();
    } catch (error) {
      if (error.name === "AbortError") return;
      results.textContent = "";
      const line = document.createElement("p");
      line.className = "kb-palette-none";
      line.textContent = said.textContent = palette().dataset.lost;
      results.append(line);
    }
  };

  document.addEventListener("input", (event) => {
    if (event.target.id !== "kb-palette-query") return;
    clearTimeout(waiting);
    waiting = setTimeout(look, 150);
  });

  document.addEventListener("mousemove", (event) => {
    const option = event.target.closest?.("#kb-palette-results [role=option]");
    if (option && option !== chosen()) choose(option);
  });

  const steer = (event) => {
    // While Chinese is being composed, Enter and the arrows belong to the input method.
    if (event.isComposing || event.keyCode === 229) return;
    const all = options();
    const at = all.indexOf(chosen());
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (all.length) choose(all[(at + step + all.length) % all.length]);
    } else if (event.key === "Enter" && all[at]) {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) return void window.open(all[at].href, "_blank", "noopener");
      palette().close();
      window.location.assign(all[at].href);
    }
  };

  // --- Shortcuts ------------------------------------------------------------------------
  const isTyping = (element) =>
    element instanceof HTMLElement &&
    (element.isContentEditable || element.matches("input, textarea, select, [role=textbox]"));

  const PATIENCE = 1500; // milliseconds between the keys of one shortcut
  let pressed = "";
  let pressedAt = 0;

  const searchThisPage = () => {
    const fields = document.querySelectorAll("#searchbar, #main input[type=search]");
    const field = [...fields].find((candidate) => candidate.offsetParent);
    if (!field) return open(palette());
    field.focus();
    field.select();
  };

  const obey = (row) => {
    if (row.dataset.does === "search") searchThisPage();
    else if (row.dataset.does === "help") open(help());
    else if (row.dataset.does) {
      // What a page of its own does with a key: its script listens.
      document.dispatchEvent(new CustomEvent("kb:shortcut", { detail: row.dataset.does }));
    } else window.location.assign(row.dataset.href);
  };

  // On the way down, so that Unfold's own handler of "/" does not come first.
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.target.id === "kb-palette-query") steer(event);
      if (!palette() || event.isComposing || event.repeat || event.altKey) return;
      if (event.ctrlKey || event.metaKey) {
        if (event.key.toLowerCase() !== "k" || event.shiftKey) return;
        event.preventDefault();
        if (palette().open) palette().close();
        else open(palette());
        return;
      }
      if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
      if (event.key === "/") event.stopImmediatePropagation();
      if (!areOn() || event.key.length !== 1) return;
      const rows = [...help().querySelectorAll("[data-shortcut]")];
      const isPrompt = event.timeStamp - pressedAt < PATIENCE;
      const keys = isPrompt && pressed ? `${pressed} ${event.key}` : event.key;
      const row = rows.find((candidate) => candidate.dataset.shortcut === keys);
      const begins = rows.some((candidate) => candidate.dataset.shortcut.startsWith(`${keys} `));
      pressed = !row && begins ? keys : "";
      pressedAt = event.timeStamp;
      if (!row) return;
      event.preventDefault();
      obey(row);
    },
    true,
  );

  // What an autocomplete field puts in the place of a select has no name for screen readers.
  function nameChoices() {
    for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
      const label = document.querySelector(`label[for="${select.id}"]`)?.textContent.trim();
      const parts = ".select2-selection, .select2-selection__rendered";
      for (const part of label ? select.parentElement.querySelectorAll(parts) : [])
        part.setAttribute("aria-label", label);
    }
  }

  // jQuery runs what waits for it in order, at times after the page has loaded: so it comes last.
  window.addEventListener("load", () => window.django?.jQuery?.(nameChoices));

  // A select that is a choice of its own submits its form.
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-submits]")) event.target.form.requestSubmit();
  });

  document.addEventListener("change", (event) => {
    if (event.target.id !== "kb-shortcuts-on") return;
    localStorage.setItem(SWITCH, event.target.checked ? "on" : "off");
  });

  document.addEventListener("DOMContentLoaded", () => {
    const box = document.getElementById("kb-shortcuts-on");
    if (box) box.checked = areOn();
    if (isMac) for (const key of document.querySelectorAll("[data-mod]")) key.textContent = "⌘";
  });
})();
