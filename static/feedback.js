/* 👍 👎 and "What would be right?" below an answer, on any web page:

     <script src="https://kb.example.org/static/feedback.js" data-query-id="…" defer></script>

   data-query-id   the query_id that a search answered with; or
   data-token      a vote link of the answer, or the token at its end
   data-target     where to put it, as a CSS selector; behind the script where left out
   data-lang       en or zh; the page's own language where left out
   data-url        the address of kbadmin; where this file comes from where left out

   Pages that show many answers call window.kbadminFeedback.create({url, queryId, token, lang}),
   which returns an element. The page's origin must be among KBADMIN_CORS_ORIGINS. */
(() => {
  "use strict";

  const WORDS = {
    en: {
      ask: "Did this help?",
      up: "Helpful",
      down: "Not helpful",
      right: "What would be right?",
      send: "Send",
      cancel: "Cancel",
      thanks: "Thank you.",
      failed: "That could not be sent.",
      again: "Try again",
      page: "Vote on a page",
      over: "Votes on this answer are no longer taken.",
    },
    zh: {
      ask: "有帮助吗？",
      up: "有帮助",
      down: "没有帮助",
      right: "正确答案是什么？",
      send: "发送",
      cancel: "取消",
      thanks: "谢谢。",
      failed: "发送失败。",
      again: "重试",
      page: "在网页上投票",
      over: "这个回答已不再接受投票。",
    },
  };
  // Colours are mixed from the text's own, so that it suits every ground.
  const CSS = `
    :host { display: block; align-self: stretch; max-width: 100%; margin: 6px 0 0;
      font: inherit; font-size: 12px; line-height: 1.5; color: inherit; text-align: start; }
    .row { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; }
    button { font: inherit; color: inherit; background: none; border: 1px solid transparent;
      border-radius: 6px; padding: 2px 7px; cursor: pointer; min-height: 26px; }
    button:hover { background: color-mix(in srgb, currentColor 10%, transparent); }
    button:focus-visible, textarea:focus-visible, a:focus-visible { outline: 2px solid #6366f1;
      outline-offset: 1px; }
    .vote { font-size: 14px; }
    .vote .sign { filter: grayscale(1); opacity: 0.7; }
    .vote:hover .sign, .vote[aria-pressed="true"] .sign { filter: none; opacity: 1; }
    .vote[aria-pressed="true"] { border-color: color-mix(in srgb, currentColor 35%, transparent);
      background: color-mix(in srgb, currentColor 8%, transparent); }
    .right, .state { opacity: 0.8; }
    .right:hover, .right[aria-expanded="true"] { opacity: 1; }
    a { color: inherit; }
    .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden;
      clip-path: inset(50%); white-space: nowrap; }
    form { margin: 6px 0 2px; max-width: 32rem; }
    form[hidden] { display: none; }
    label { display: block; margin-bottom: 4px; }
    textarea { display: block; box-sizing: border-box; width: 100%; min-width: 12rem;
      min-height: 4.5em; padding: 6px 8px; font: inherit; font-size: 13px; color: inherit;
      background: color-mix(in srgb, currentColor 5%, transparent); resize: vertical;
      border: 1px solid color-mix(in srgb, currentColor 30%, transparent); border-radius: 6px; }
    .buttons { display: flex; gap: 6px; margin-top: 6px; }
    .send { background: #4f46e5; color: #fff; padding: 2px 14px; font-weight: 600; }
    .send:hover { background: #4338ca; }
  `;
  const LONGEST = 4000;
  const REMEMBERED = 300;
  const STORE = "kbadmin-feedback";
  const TOKEN = /([\w-]{22}[ud]\.[\w-]+\.[\w-]+)$/;

  /** The token in a vote link, or the token itself; "" where there is none. */
  const tokenOf = (text) => (TOKEN.exec((text || "").trim()) || ["", ""])[1];

  /** By what an answer is known, whether by link or by id: the id. */
  const keyOf = ({ token, queryId }) => {
    if (!token) return queryId.toLowerCase();
    const bytes = atob(token.slice(0, 22).replace(/-/g, "+").replace(/_/g, "/") + "==");
    const hex = Array.from(bytes, (one) => one.charCodeAt(0).toString(16).padStart(2, "0"));
    return hex.join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  const recall = () => {
    try {
      return JSON.parse(localStorage.getItem(STORE)) || {};
    } catch {
      return {};
    }
  };

  const remember = (key, vote) => {
    const { [key]: _, ...others } = recall();
    const kept = Object.entries(others).slice(1 - REMEMBERED);
    try {
      localStorage.setItem(STORE, JSON.stringify(Object.fromEntries([...kept, [key, vote]])));
    } catch {
      // Where nothing may be stored, votes still count.
    }
  };

  const element = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const create = ({ url, queryId = "", token = "", lang = "" }) => {
    const words = WORDS[/^(zh|cn|tw)/i.test(lang) ? "zh" : "en"];
    token = tokenOf(token);
    const key = keyOf({ token, queryId });
    const vote = { rating: "", correction: "", ...recall()[key] };

    const button = (rating, sign) =>
      element(
        "button",
        { type: "button", class: "vote", title: words[rating], "aria-pressed": "false" },
        element("span", { class: "sign" }, sign),
        element("span", { class: "unseen" }, ` ${words[rating]}`),
      );
    const votes = { up: button("up", "👍"), down: button("down", "👎") };
    const right = element(
      "button",
      { type: "button", class: "right", "aria-expanded": "false" },
      words.right,
    );
    const state = element("span", { class: "state", role: "status" });
    const text = element("textarea", { id: "text", rows: "3", maxlength: LONGEST });
    const cancel = element("button", { type: "button" }, words.cancel);
    const form = element(
      "form",
      { hidden: "" },
      element("label", { for: "text" }, words.right),
      text,
      element(
        "div",
        { class: "buttons" },
        element("button", { type: "submit", class: "send" }, words.send),
        cancel,
      ),
    );
    const row = element("div", { class: "row", role: "group", "aria-label": words.ask });
    row.append(votes.up, votes.down, right, state);
    const host = document.createElement("kbadmin-feedback");
    host.dataset.key = key;
    const shadow = host.attachShadow({ mode: "open" });
    try {
      // Unlike an element <style>, no policy of the page forbids it.
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(CSS);
      shadow.adoptedStyleSheets = [sheet];
    } catch {
      shadow.append(element("style", {}, CSS));
    }
    shadow.append(row, form);

    const show = () => {
      for (const [rating, one] of Object.entries(votes)) {
        one.setAttribute("aria-pressed", String(vote.rating === rating));
      }
    };
    const open = (wanted) => {
      form.hidden = !wanted;
      right.setAttribute("aria-expanded", String(wanted));
      if (wanted) {
        text.value = text.value || vote.correction;
        text.focus({ preventScroll: true });
        form.scrollIntoView({ block: "nearest", behavior: "smooth" });
      }
    };
    const complain = (message, again) => {
      state.replaceChildren(`${message} `);
      if (again) {
        const retry = element("button", { type: "button" }, words.again);
        retry.addEventListener("click", again);
        state.append(retry);
        if (token) {
          const page = { href: `${url}/f/${token}`, target: "_blank", rel: "noopener noreferrer" };
          state.append(" ", element("a", page, words.page));
        }
      }
    };
    const post = async () => {
      const { rating, correction } = vote;
      const body = token ? { token } : { query_id: queryId };
      if (rating) body.rating = rating;
      if (correction) body.correction = correction;
      const response = await fetch(`${url}/f`, {
        method: "POST",
        mode: "cors",
        credentials: "omit",
        keepalive: true,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      return response.status;
    };
    // One after the other: of two quick clicks the second is what counts.
    let sent = Promise.resolve();
    const send = () => {
      sent = sent.then(async () => {
        let status = 0;
        try {
          status = await post();
        } catch {
          // No connection, or an origin that may not call.
        }
        if (status === 200 || status === 201) {
          remember(key, { ...vote });
          state.replaceChildren(words.thanks);
        } else if (status === 404 || status === 410) {
          complain(words.over);
        } else {
          complain(words.failed, send);
        }
      });
    };

    for (const [rating, one] of Object.entries(votes)) {
      one.addEventListener("click", () => {
        vote.rating = rating;
        show();
        send();
        open(rating === "down");
      });
    }
    right.addEventListener("click", () => open(form.hidden));
    cancel.addEventListener("click", () => {
      open(false);
      right.focus();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      vote.correction = text.value.trim();
      if (vote.correction || vote.rating) send();
      open(false);
      right.focus();
    });
    // What is typed here is not for the page around: NextChat listens to keys.
    for (const name of ["keydown", "keyup", "keypress", "paste"]) {
      shadow.addEventListener(name, (event) => {
        if (name === "keydown" && event.key === "Escape" && !form.hidden) {
          open(false);
          right.focus();
        }
        event.stopPropagation();
      });
    }
    show();
    return host;
  };

  window.kbadminFeedback = { create, keyOf, tokenOf };

  const script = document.currentScript;
  if (!script || !(script.dataset.queryId || script.dataset.token)) return;
  const { queryId, token, target } = script.dataset;
  const host = create({
    url: (script.dataset.url || new URL("..", script.src).href).replace(/\/$/, ""),
    queryId,
    token,
    lang: script.dataset.lang || document.documentElement.lang || navigator.language,
  });
  const place = target && document.querySelector(target);
  if (place) place.append(host);
  else if (document.body.contains(script)) script.after(host);
  else document.body.append(host);
})();
