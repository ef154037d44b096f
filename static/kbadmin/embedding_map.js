// The map of the embeddings: points on a canvas, told one by one to mouse, keyboard and ear.
"use strict";

(() => {
  const box = document.getElementById("kb-map");
  if (!box) return;
  const canvas = document.getElementById("map-canvas");
  const tip = document.getElementById("map-tip");
  const legend = document.getElementById("map-legend");
  const said = document.getElementById("map-said");
  const by = document.getElementById("map-by");
  const margin = 16;
  const reach = 14; // pixels around a point in which the pointer finds it
  let points = [];
  let bounds = { left: -1, bottom: -1, width: 2, height: 2 };
  let chosen = -1;
  let only = -1; // the group that the legend picks out

  const colour = (group) =>
    getComputedStyle(box).getPropertyValue(`--kb-map-${group}`).trim() || "gray";

  function place(point) {
    const { clientWidth: width, clientHeight: height } = canvas;
    return [
      margin + ((point.x - bounds.left) / bounds.width) * (width - 2 * margin),
      height - margin - ((point.y - bounds.bottom) / bounds.height) * (height - 2 * margin),
    ];
  }

  function measure() {
    const xs = points.map((point) => point.x);
    const ys = points.map((point) => point.y);
    const [left, bottom] = [Math.min(...xs), Math.min(...ys)];
    bounds = {
      left,
      bottom,
      width: Math.max(...xs) - left || 1,
      height: Math.max(...ys) - bottom || 1,
    };
  }

  function draw() {
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const colours = Array.from({ length: 9 }, (_, group) => colour(group));
    const radius = points.length > 600 ? 3 : 4.5;
    points.forEach((point) => {
      const [x, y] = place(point);
      pen.globalAlpha = only >= 0 && point.group !== only ? 0.08 : 0.8;
      pen.fillStyle = colours[point.group];
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
    });
    if (chosen >= 0) {
      const [x, y] = place(points[chosen]);
      pen.globalAlpha = 1;
      pen.fillStyle = colours[points[chosen].group];
      pen.strokeStyle = getComputedStyle(box).color;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, radius + 3, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    }
  }

  function line(text, name) {
    const element = document.createElement("span");
    element.className = name;
    element.textContent = text;
    return element;
  }

  function choose(number, aloud) {
    chosen = number;
    canvas.classList.toggle("kb-map-found", chosen >= 0);
    tip.hidden = chosen < 0;
    if (chosen >= 0) {
      const point = points[chosen];
      tip.replaceChildren(line(point.title, "kb-name"), line(point.text, "kb-map-text"));
      if (point.name !== point.title) tip.append(line(point.name, "kb-sub"));
      const [x, y] = place(point);
      const right = x > canvas.clientWidth / 2;
      const below = y < canvas.clientHeight / 2;
      tip.style.left = right ? "" : `${x + 12}px`;
      tip.style.right = right ? `${canvas.clientWidth - x + 12}px` : "";
      tip.style.top = below ? `${y + 12}px` : "";
      tip.style.bottom = below ? "" : `${canvas.clientHeight - y + 12}px`;
      if (aloud) said.textContent = `${point.title}. ${point.name}. ${point.text}`;
    }
    draw();
  }

  function nearest(event) {
    const frame = canvas.getBoundingClientRect();
    let found = -1;
    let least = reach ** 2;
    points.forEach((point, number) => {
      if (only >= 0 && point.group !== only) return;
      const [x, y] = place(point);
      const away = (x - event.clientX + frame.left) ** 2 + (y - event.clientY + frame.top) ** 2;
      if (away < least) [found, least] = [number, away];
    });
    return found;
  }

  // The nearest point in a direction: those that lie more sideways than ahead do not count.
  function step(dx, dy) {
    if (!points.length) return;
    if (chosen < 0) return choose(0, true);
    const [fromX, fromY] = place(points[chosen]);
    let found = chosen;
    let least = Infinity;
    points.forEach((point, number) => {
      if (number === chosen || (only >= 0 && point.group !== only)) return;
      const [x, y] = place(point);
      const ahead = (x - fromX) * dx + (y - fromY) * dy;
      const aside = Math.abs((x - fromX) * dy) + Math.abs((y - fromY) * dx);
      if (ahead > 0 && aside <= ahead && ahead + aside < least) {
        [found, least] = [number, ahead + aside];
      }
    });
    choose(found, true);
  }

  function open(number) {
    if (number >= 0) window.location.assign(points[number].url);
  }

  function describe(groups) {
    legend.replaceChildren(
      ...groups.map((group, number) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "kb-legend-entry";
        button.setAttribute("aria-pressed", "false");
        button.append(
          line("", `kb-legend-dot kb-legend-${number}`),
          line(group.name, "kb-legend-name"),
          line(group.size.toLocaleString(document.documentElement.lang), "kb-sub"),
        );
        button.addEventListener("click", () => {
          only = only === number ? -1 : number;
          legend.querySelectorAll("button").forEach((other, place) => {
            other.setAttribute("aria-pressed", String(place === only));
          });
          choose(-1);
        });
        const entry = document.createElement("li");
        entry.append(button);
        return entry;
      }),
    );
  }

  async function load() {
    const url = new URL(box.dataset.points, window.location.href);
    url.searchParams.set("by", by.value);
    let answer;
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" } });
      answer = await response.json();
    } catch {
      answer = { error: box.dataset.failed };
    }
    if (answer.error) {
      legend.replaceChildren(line(answer.error, "kb-sub kb-reason"));
      return;
    }
    points = answer.points;
    only = -1;
    chosen = -1;
    tip.hidden = true;
    measure();
    describe(answer.legend);
    draw();
    box.dataset.ready = by.value;
  }

  canvas.addEventListener("pointermove", (event) => {
    const found = nearest(event);
    if (found !== chosen) choose(found);
  });
  canvas.addEventListener("pointerleave", () => choose(-1));
  canvas.addEventListener("click", (event) => open(nearest(event)));
  canvas.addEventListener("keydown", (event) => {
    const ways = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    if (ways[event.key]) step(...ways[event.key]);
    else if (event.key === "Enter") open(chosen);
    else if (event.key === "Escape") choose(-1);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => choose(-1));
  by.addEventListener("change", load);
  new ResizeObserver(() => points.length && draw()).observe(canvas);
  // Another theme has other colours.
  new MutationObserver(() => points.length && draw()).observe(document.documentElement, {
    attributes: true,
    attributeFilter: ["class"],
  });
  load();
})();
