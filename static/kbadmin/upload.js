// The upload page works as a plain form. This adds dropping and pasting anywhere, whole folders,
// and sending in small portions with progress, so that a thousand files meet no limit of one
// request.
"use strict";

(() => {
  const PORTION_FILES = 20;
  const PORTION_BYTES = 8 * 1024 * 1024;
  const ATTEMPTS = 4;
  const ROWS_SHOWN = 100;
  const ADDRESSES = /^\s*(https?:\/\/\S+\s*)+$/;

  const form = document.getElementById("upload-form");
  if (!form) return;
  const byId = (id) => document.getElementById(id);
  const input = byId("id_files");
  const list = byId("upload-chosen");
  const sending = byId("upload-sending");
  const text = byId("upload-text");
  const bar = byId("upload-bar");
  const button = byId("upload-send");
  const fields = { title: byId("id_title"), text: byId("id_text"), addresses: byId("id_addresses") };
  const words = form.dataset;
  form.classList.add("kb-scripted");
  let chosen = [];
  let busy = false;

  const fill = (template, values = {}) =>
    template.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
  const say = (...lines) => {
    sending.hidden = false;
    text.textContent = lines.filter(Boolean).join("\n");
  };
  const size = (bytes) => {
    const units = ["B", "KB", "MB", "GB"];
    const power = Math.min(Math.floor(Math.log(bytes || 1) / Math.log(1024)), 3);
    const number = bytes / 1024 ** power;
    return `${number.toLocaleString(document.documentElement.lang, { maximumFractionDigits: power ? 1 : 0 })} ${units[power]}`;
  };

  // --- Tabs -----------------------------------------------------------------------------
  const tabs = [...form.querySelectorAll("[role=tab]")];
  const show = (name) => {
    for (const tab of tabs) {
      const selected = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).classList.toggle("kb-panel-closed", !selected);
    }
    byId("upload-preview-text").hidden = name !== "text";
  };
  for (const [number, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(tab.id.slice(4)));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(number + step + tabs.length) % tabs.length];
      show(next.id.slice(4));
      next.focus();
    });
  }
  if (words.open) show(words.open);

  // --- The list of chosen files ---------------------------------------------------------
  const preview = (detail) => document.dispatchEvent(new CustomEvent("kb:preview", { detail }));

  const draw = () => {
    const rows = chosen.slice(0, ROWS_SHOWN).map((item) => {
      const row = byId("upload-row").content.firstElementChild.cloneNode(true);
      row.querySelector(".kb-chosen-name").textContent = item.path;
      row.querySelector(".kb-chosen-size").textContent = size(item.file.size);
      const [look, remove] = row.querySelectorAll("button");
      look.setAttribute("aria-label", `${look.textContent}: ${item.path}`);
      look.addEventListener("click", () => preview({ name: item.path, blob: item.file, from: look }));
      remove.setAttribute("aria-label", `${remove.textContent.replace("close", "").trim()}: ${item.path}`);
      remove.addEventListener("click", () => {
        const at = chosen.indexOf(item);
        chosen.splice(at, 1);
        draw();
        (list.querySelectorAll(".kb-chosen-remove")[at] ?? list.querySelector(".kb-chosen-remove:last-of-type") ?? button).focus();
      });
      item.row = row;
      return row;
    });
    if (chosen.length > ROWS_SHOWN) {
      const more = document.createElement("li");
      more.className = "kb-sub";
      more.textContent = fill(words.textMore, { total: chosen.length - ROWS_SHOWN });
      rows.push(more);
    }
    list.replaceChildren(...rows);
    list.hidden = !chosen.length;
    form.classList.toggle("kb-has-files", chosen.length > 0);
    const count = chosen.length === 1 ? words.textChosenOne : words.textChosen;
    say(chosen.length ? fill(count, { total: chosen.length }) : "");
    sending.hidden = !chosen.length;
  };

  const suffixes = new Set(words.suffixes.split(","));
  const isReadable = (name) => suffixes.has(name.slice(name.lastIndexOf(".")).toLowerCase());

  const add = (files) => {
    if (busy || !files.length) return;
    const limit = Number(words.maxSize);
    // Somebody who picks a file means it; a folder also holds what nobody thought of.
    const foreign = files.filter(({ path }) => path.includes("/") && !isReadable(path));
    const rest = files.filter((item) => !foreign.includes(item));
    const large = rest.filter(({ file }) => file.size > limit);
    const known = new Map(chosen.map((item) => [item.path, item]));
    for (const item of rest) if (item.file.size <= limit) known.set(item.path, item);
    chosen = [...known.values()];
    show("files");
    bar.hidden = true;
    draw();
    const names = (items) => items.slice(0, 5).map(({ path }) => path).join(", ");
    if (!large.length && !foreign.length) return;
    say(
      text.textContent,
      large.length && fill(words.textSkipped, { names: names(large) }),
      foreign.length && fill(words.textForeign, { total: foreign.length, names: names(foreign) }),
    );
  };

  for (const field of [input, byId("id_folder")]) {
    // Unfold's script looks for a text field of its own beside every file field, unless it is
    // told that it has been there already.
    field.hasChangeListener = true;
    field.addEventListener("change", () => {
      const files = [...field.files].filter((file) => !file.name.startsWith("."));
      add(files.map((file) => ({ file, path: file.webkitRelativePath || file.name })));
      field.value = "";
    });
  }

  // --- Dropping, anywhere ---------------------------------------------------------------
  const readAll = async (reader) => {
    const entries = [];
    for (;;) {
      // A folder is handed out a hundred entries at a time, until an empty answer.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return entries;
      entries.push(...some);
    }
  };

  const walk = async (entry, into) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (!file.name.startsWith(".")) into.push({ file, path: entry.fullPath.replace(/^\//, "") });
    } else if (!entry.name.startsWith(".")) {
      for (const child of await readAll(entry.createReader())) await walk(child, into);
    }
  };

  const target = byId("upload-drop-page");
  const brings = (event) => !busy && [...event.dataTransfer.types].includes("Files");
  let depth = 0; // of elements that were entered and not left
  const over = (change) => {
    depth = change ? Math.max(depth + change, 0) : 0;
    target.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => brings(event) && over(1));
  document.addEventListener("dragleave", (event) => brings(event) && over(-1));
  document.addEventListener("dragover", (event) => {
    if (brings(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    over(0);
    // Both are empty once this turn of the loop is over.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files].map((file) => ({ file, path: file.name }));
    const files = [];
    for (const entry of entries) await walk(entry, files);
    add(entries.length ? files : plain);
  });

  // --- Pasting, anywhere ----------------------------------------------------------------
  const append = (field, pasted) => {
    field.value = [field.value.trimEnd(), pasted].filter(Boolean).join(field === fields.addresses ? "\n" : "\n\n");
  };

  document.addEventListener("paste", (event) => {
    if (busy || event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    const files = [...event.clipboardData.files];
    const pasted = event.clipboardData.getData("text/plain");
    if (files.length) {
      add(files.map((file) => ({ file, path: file.name })));
    } else if (ADDRESSES.test(pasted)) {
      append(fields.addresses, pasted.trim().split(/\s+/).join("\n"));
      show("addresses");
      fields.addresses.focus();
      say(words.textPastedAddresses);
    } else if (pasted.trim()) {
      append(fields.text, pasted);
      show("text");
      fields.title.focus();
      say(words.textPasted);
    } else return;
    event.preventDefault();
  });

  const addressFile = byId("id_address_file");
  addressFile.hasChangeListener = true;
  addressFile.addEventListener("change", async () => {
    const file = addressFile.files[0];
    if (!file) return;
    append(fields.addresses, (await file.text()).trim());
    addressFile.value = "";
    fields.addresses.focus();
  });

  byId("upload-preview-text").addEventListener("click", (event) => {
    const [title, content] = [fields.title.value.trim(), fields.text.value];
    preview({ name: title || event.target.textContent, title, text: content, from: event.target });
  });

  // --- Sending --------------------------------------------------------------------------
  const portions = (files) => {
    const all = [];
    let bytes = 0;
    for (const item of files) {
      const last = all[all.length - 1];
      if (last && last.length < PORTION_FILES && bytes + item.file.size <= PORTION_BYTES) {
        last.push(item);
        bytes += item.file.size;
      } else {
        all.push([item]);
        bytes = item.file.size;
      }
    }
    return all;
  };

  const post = (address, items, extra, onProgress) =>
    new Promise((resolve, reject) => {
      const body = new FormData();
      body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
      for (const name of ["collection", "question_column", "answer_column"]) {
        body.append(name, form.elements[name].value);
      }
      for (const [name, value] of Object.entries(extra)) body.append(name, value);
      for (const { file, path } of items) {
        body.append("files", file, file.name);
        body.append("paths", path);
      }
      const request = new XMLHttpRequest();
      request.open("POST", address);
      request.setRequestHeader("Accept", "application/json");
      request.responseType = "json";
      request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
      request.addEventListener("load", () => {
        if (request.status === 200 && request.response) resolve(request.response);
        else reject(new Error(request.response?.error || ""));
      });
      request.addEventListener("error", () => reject(new Error("")));
      request.send(body);
    });

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  // Sending the same bytes twice is harmless: the second time they are "unchanged".
  const persist = async (...what) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await post(...what);
      } catch (error) {
        if (error.message || attempt === ATTEMPTS) throw error;
        await pause(1000 * attempt);
      }
    }
  };

  const warn = (event) => {
    event.preventDefault();
    event.returnValue = words.textLeave;
  };

  // The files of a portion are sent one after the other.
  const showRows = (items, loaded) => {
    let before = 0;
    for (const { file, row } of items) {
      const rowBar = row?.querySelector("progress");
      if (rowBar) {
        rowBar.hidden = false;
        const share = (100 * (loaded - before)) / (file.size || 1);
        rowBar.value = Math.max(rowBar.value, Math.min(100, share));
      }
      before += file.size;
    }
  };

  const lock = (locked) => {
    busy = locked;
    button.disabled = locked;
    form.classList.toggle("kb-busy", locked);
    (locked ? window.addEventListener : window.removeEventListener)("beforeunload", warn);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    const extra = {};
    if (fields.text.value.trim()) Object.assign(extra, { title: fields.title.value, text: fields.text.value });
    if (fields.addresses.value.trim()) extra.addresses = fields.addresses.value;
    const files = chosen;
    const hasExtra = Object.keys(extra).length > 0;
    if (!files.length && !hasExtra) {
      say(words.textNothing);
      return;
    }
    lock(true);
    bar.hidden = false;
    const bytes = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
    const total = files.length + (hasExtra ? 1 : 0);
    let sent = 0;
    let done = 0;
    let shown = 0;
    let address = form.action;
    const report = (items, loaded) => {
      shown = Math.max(shown, Math.min(100, (100 * (sent + loaded)) / bytes));
      bar.value = shown;
      showRows(items, loaded);
      say(fill(words.textSending, { done, total }));
    };
    try {
      // Texts and addresses first: they are checked as a whole, and nothing is sent if not.
      if (hasExtra) {
        report([], 0);
        address = (await persist(address, [], extra, () => {})).batch;
        done += 1;
        fields.text.value = fields.title.value = fields.addresses.value = "";
      }
      for (const items of portions(files)) {
        report(items, 0);
        address = (await persist(address, items, {}, (loaded) => report(items, loaded))).batch;
        done += items.length;
        report(items, Infinity);
        sent += items.reduce((sum, { file }) => sum + file.size, 0);
        for (const { row } of items) row?.classList.add("kb-chosen-sent");
        chosen = files.slice(files.indexOf(items.at(-1)) + 1);
      }
      lock(false);
      window.location.assign(address);
    } catch (error) {
      lock(false);
      form.action = address;
      draw();
      bar.hidden = true;
      say(error.message || words.textLost);
    }
  });
})();
