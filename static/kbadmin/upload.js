// The upload page works as a plain form. This adds dropping, whole folders, and sending in
// small portions with progress, so that a thousand files meet no limit of one request.
"use strict";

(() => {
  const PORTION_FILES = 20;
  const PORTION_BYTES = 8 * 1024 * 1024;
  const ATTEMPTS = 4;

  // --- What the list of files says is read out once, when it has changed ----------------
  document.addEventListener("htmx:afterSettle", () => {
    const batch = document.getElementById("upload-batch");
    const said = document.getElementById("upload-said");
    const sentence = batch && batch.dataset.sentence;
    if (said && sentence && said.textContent !== sentence) said.textContent = sentence;
  });

  const form = document.getElementById("upload-form");
  if (!form) return;
  const input = document.getElementById("id_files");
  const drop = document.getElementById("upload-drop");
  const sending = document.getElementById("upload-sending");
  const text = document.getElementById("upload-text");
  const bar = document.getElementById("upload-bar");
  const button = document.getElementById("upload-send");
  const words = form.dataset;
  form.classList.add("kb-scripted");
  let chosen = [];
  let busy = false;

  const say = (template, values) => {
    sending.hidden = false;
    text.textContent = template.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
  };

  const choose = (files) => {
    const limit = Number(words.maxSize);
    const skipped = files.filter(({ file }) => file.size > limit);
    chosen = files.filter(({ file }) => file.size <= limit);
    input.required = chosen.length === 0;
    bar.hidden = true;
    const names = skipped.map(({ path }) => path).slice(0, 5).join(", ");
    const lines = [words.textChosen, ...(skipped.length ? [words.textSkipped] : [])];
    say(lines.join("\n"), { total: chosen.length, names });
  };

  // --- Dropped folders ------------------------------------------------------------------
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

  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("kb-drop-over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("kb-drop-over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("kb-drop-over");
    if (busy) return;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const files = [];
    for (const entry of entries) await walk(entry, files);
    choose(files);
  });
  for (const field of [input, document.getElementById("id_folder")]) {
    // Unfold's script looks for a text field of its own beside every file field, unless it is
    // told that it has been there already.
    field.hasChangeListener = true;
    field.addEventListener("change", () => {
      const files = [...field.files].filter((file) => !file.name.startsWith("."));
      choose(files.map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    });
  }

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

  const post = (address, items, onProgress) =>
    new Promise((resolve, reject) => {
      const body = new FormData();
      body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
      for (const name of ["collection", "question_column", "answer_column"]) {
        body.append(name, form.elements[name].value);
      }
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
  const persist = async (address, items, onProgress) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await post(address, items, onProgress);
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

  form.addEventListener("submit", async (event) => {
    if (!chosen.length) return;
    event.preventDefault();
    if (busy) return;
    busy = true;
    button.disabled = true;
    bar.hidden = false;
    window.addEventListener("beforeunload", warn);
    const files = chosen;
    const bytes = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
    let sent = 0;
    let done = 0;
    let shown = 0;
    let address = form.action;
    const show = (loaded) => {
      shown = Math.max(shown, Math.min(100, (100 * (sent + loaded)) / bytes));
      bar.value = shown;
      say(words.textSending, { done, total: files.length });
    };
    try {
      show(0);
      for (const items of portions(files)) {
        const answer = await persist(address, items, show);
        address = answer.batch;
        done += items.length;
        sent += items.reduce((sum, { file }) => sum + file.size, 0);
        chosen = files.slice(done);
        show(0);
      }
      window.removeEventListener("beforeunload", warn);
      window.location.assign(address);
    } catch (error) {
      window.removeEventListener("beforeunload", warn);
      form.action = address;
      say(error.message || words.textLost, {});
      button.disabled = false;
      busy = false;
    }
  });
})();
