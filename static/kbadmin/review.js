// The queue by keyboard: shell.js says which key was pressed, and only when nobody is typing.
"use strict";

(() => {
  const PLACE = "kbadmin-review-place";
  const list = document.getElementById("kb-review");
  const item = document.getElementById("kb-review-item");

  // --- The list -------------------------------------------------------------------------
  const links = () => [...(list?.querySelectorAll(".kb-review-row a.kb-name") ?? [])];
  const marks = () => [...(list?.querySelectorAll(".kb-review-mark") ?? [])];
  let at = -1;

  const go = (place) => {
    const all = links();
    if (!all.length) return;
    at = Math.max(0, Math.min(place, all.length - 1));
    all[at].focus();
    all[at].closest("li").scrollIntoView({ block: "nearest" });
  };

  // What was focused by mouse or Tab is where j and k go on.
  list?.addEventListener("focusin", (event) => {
    const row = event.target.closest(".kb-review-row");
    if (row) at = links().findIndex((link) => row.contains(link));
  });

  // Those that are marked, or else the one that is chosen.
  const decide = (action) => {
    const button = list.querySelector(`button[name=action][value=${action}]`);
    const mark = links()[at]?.closest("li").querySelector(".kb-review-mark");
    if (!button) return;
    if (!marks().some((box) => box.checked)) {
      if (!mark) return;
      mark.checked = true;
    }
    // A question that is rejected leaves the list: the next one takes its place.
    sessionStorage.setItem(PLACE, String(Math.max(at, 0)));
    button.click();
  };

  // A page of the chosen question, in the same part of the queue.
  const open = (below) => {
    const link = links()[at];
    if (!link) return;
    const address = new URL(link.href);
    if (below.startsWith("#")) address.hash = below;
    else address.pathname += below;
    window.location.assign(address);
  };

  const inList = {
    next: () => go(at + 1),
    previous: () => go(at - 1),
    assign: () => decide("assign"),
    reject: () => decide("reject"),
    merge: () => decide("merge"),
    notes: () => open("#id_notes"),
    edit: () => open("accept/edit/"),
    accept: () => open("accept/answer/"),
    mark: () => {
      const box = links()[at]?.closest("li").querySelector(".kb-review-mark");
      if (box) box.click();
    },
  };

  if (list) {
    const kept = sessionStorage.getItem(PLACE);
    sessionStorage.removeItem(PLACE);
    if (kept !== null) go(Number(kept));
    const all = document.getElementById("kb-review-all");
    if (all) {
      all.parentElement.hidden = false;
      all.addEventListener("change", () => {
        for (const box of marks()) box.checked = all.checked;
      });
      list.addEventListener("change", () => {
        all.checked = marks().every((box) => box.checked);
      });
    }
  }

  // --- One question ---------------------------------------------------------------------
  const press = (selector) => item.querySelector(selector)?.click();
  const look = (selector) => {
    const field = item.querySelector(selector);
    field?.scrollIntoView({ block: "center" });
    field?.focus({ preventScroll: true });
  };

  const inItem = {
    next: () => press("a[rel=next]"),
    previous: () => press("a[rel=prev]"),
    assign: () => press("button[name=action][value=assign]"),
    reject: () => press("button[name=action][value=reject]"),
    notes: () => look("#id_notes"),
    edit: () => press("#kb-accept a[data-kind=edit]"),
    accept: () => press("#kb-accept a[data-kind=answer]"),
  };

  if (item && window.location.hash === "#id_notes") look("#id_notes");

  document.addEventListener("kb:shortcut", (event) => {
    (list ? inList : item ? inItem : {})[event.detail]?.();
  });
})();
