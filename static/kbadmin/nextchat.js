/* Stands in for NextChat's serviceWorkerRegister.js: does what that does, and puts buttons below
   the answers that the knowledge base had a part in. feedback.js comes before it in the same file. */
(() => {
  "use strict";

  // --- What NextChat's own file is there for -------------------------------------------------

  const register = async () => {
    const workers = navigator.serviceWorker;
    // Pages are served anew once a worker is there: uploads go through it.
    workers.addEventListener("controllerchange", () => window.location.reload());
    try {
      const registration = await workers.register("/serviceWorker.js");
      window._SW_ENABLED = true;
      const fresh = registration.installing || registration.waiting;
      if (fresh) {
        fresh.addEventListener("statechange", () => {
          if (fresh.state === "installed") window.location.reload();
        });
      }
      await registration.update();
    } catch (error) {
      console.error("The service worker could not be registered:", error);
    }
  };
  if ("serviceWorker" in navigator) {
    window.addEventListener("DOMContentLoaded", register);
  }

  // --- Buttons below answers -------------------------------------------------------------------

  // Class names of CSS modules end in a hash: only how they begin is known.
  const ITEM = '[class*="chat-message-item_"]';
  const USER = '[class*="chat-message-user_"]';
  const CONTAINER = '[class*="chat-message-container_"]';
  const DATE = '[class*="chat-message-action-date_"]';
  const QUERY_ID =
    /query_id\W{1,8}([\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12})(?![\da-f])/i;
  /** Milliseconds between looking, and after which an answer that names nothing is looked at
      again: NextChat stores it a little later than it shows it. */
  const PAUSE = 400;
  const READ_AT = [0, 700, 2500, 8000];
  const url = window.kbadminFeedbackUrl;
  const { create, keyOf, tokenOf } = window.kbadminFeedback;
  /** Answers that named nothing so far: how long they are, since when, and how often the store was
      read for them. */
  const silent = new WeakMap();
  /** Buttons by what they vote on. */
  const hosts = new Map();
  let timer = 0;

  const language = () => {
    try {
      return localStorage.getItem("lang") || navigator.language;
    } catch {
      return navigator.language;
    }
  };

  /** What NextChat stored of its chats; null where it did not. */
  const stored = () =>
    new Promise((resolve) => {
      const request = indexedDB.open("keyval-store");
      // It is NextChat's to make: one of ours would lack what NextChat looks for in it.
      request.onupgradeneeded = () => request.transaction.abort();
      request.onerror = () => resolve(null);
      request.onsuccess = () => {
        const database = request.result;
        const finish = (value) => {
          database.close();
          resolve(value);
        };
        try {
          const reading = database.transaction("keyval").objectStore("keyval");
          const found = reading.get("chat-next-web-store");
          found.onerror = () => finish(null);
          found.onsuccess = () => {
            try {
              const value = found.result;
              finish(typeof value === "string" ? JSON.parse(value) : value || null);
            } catch {
              finish(null);
            }
          };
        } catch {
          finish(null);
        }
      };
    });

  const letters = (text) => text.replace(/[^\p{L}\p{N}]/gu, "");
  const textOf = (message) =>
    typeof message.content === "string"
      ? message.content
      : (message.content || []).map((part) => part.text || "").join("");

  /** Of the chat that is open, the message that an element shows: by its time, or else by its
      place counted from the end, where no page of older messages is missing. */
  const messageOf = (item, items, messages) => {
    const date = item.closest(CONTAINER)?.querySelector(DATE)?.textContent.trim();
    const sameDate = date ? messages.filter((message) => message.date === date) : [];
    if (sameDate.length === 1) return sameDate[0];
    const place = messages.length - (items.length - items.indexOf(item));
    const message = messages[place];
    if (!message) return null;
    const [said, shown] = [letters(textOf(message)).slice(0, 8), letters(item.textContent)];
    return shown.startsWith(said) ? message : null;
  };

  const namedBy = (message) => {
    if (!message || message.streaming) return null;
    for (const tool of [...(message.tools || [])].reverse()) {
      const match = QUERY_ID.exec(String(tool.content || ""));
      if (match) return { queryId: match[1] };
    }
    return null;
  };

  /** What an answer shows of the search behind it: a vote link of ours, or its id. */
  const namedIn = (item) => {
    for (const link of [...item.querySelectorAll("a[href]")].reverse()) {
      const token = link.href.startsWith(`${url}/f/`) && tokenOf(link.href);
      if (token) return { token };
    }
    const match = QUERY_ID.exec(item.textContent);
    return match && { queryId: match[1] };
  };

  const put = (item, named) => {
    const key = keyOf({ token: "", ...named });
    if (item.kbadmin?.dataset.key !== key) {
      // Drawn anew by NextChat, an answer keeps its buttons, with what was typed there.
      const before = hosts.get(key);
      item.kbadmin?.remove();
      item.kbadmin =
        before && !before.item.isConnected ? before : create({ url, lang: language(), ...named });
      hosts.set(key, item.kbadmin);
      item.kbadmin.item = item;
    }
    if (item.nextElementSibling !== item.kbadmin) item.after(item.kbadmin);
  };

  const scan = async () => {
    const items = [...document.querySelectorAll(ITEM)].filter((item) => !item.closest(USER));
    const unnamed = [];
    for (const item of items) {
      const named = namedIn(item);
      if (named) put(item, named);
      else if (item.kbadmin) put(item, { queryId: item.kbadmin.dataset.key });
      else unnamed.push(item);
    }
    const now = performance.now();
    const dueAt = ({ since, reads }) => since + (READ_AT[reads] ?? Infinity);
    const due = unnamed.filter((item) => {
      const length = item.textContent.length;
      if (silent.get(item)?.length !== length) silent.set(item, { length, since: now, reads: 0 });
      return length && dueAt(silent.get(item)) <= now;
    });
    if (due.length) {
      const state = (await stored())?.state;
      const session = state?.sessions?.[state.currentSessionIndex || 0];
      const messages = (session?.messages || []).filter(({ role }) => role === "assistant");
      for (const item of due) {
        silent.get(item).reads += 1;
        const named = item.isConnected && namedBy(messageOf(item, items, messages));
        if (named) put(item, named);
      }
    }
    const next = Math.min(
      ...unnamed.filter((item) => !item.kbadmin).map((item) => dueAt(silent.get(item))),
    );
    if (next < Infinity) setTimeout(look, Math.max(next - performance.now(), 0));
    for (const host of document.querySelectorAll("kbadmin-feedback")) {
      if (host.item && host.previousElementSibling !== host.item) host.remove();
    }
  };

  const look = () => {
    timer ||= setTimeout(async () => {
      try {
        await scan();
      } catch (error) {
        console.error("Feedback buttons:", error);
      } finally {
        timer = 0;
      }
    }, PAUSE);
  };

  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  look();
})();
