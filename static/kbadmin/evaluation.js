// Draws the metrics of runs over time, in the colours of the theme.
"use strict";

(() => {
  let chart = null;

  // A canvas takes no custom properties, and Chart.js no oklch(): painted, any colour is RGB.
  const probe = document.createElement("span");
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  function colour(name, alpha = 1) {
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = getComputedStyle(probe).color;
    probe.remove();
    pixel.fillRect(0, 0, 1, 1);
    return `rgba(${[...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3).join(", ")}, ${alpha})`;
  }

  const language = document.documentElement.lang || "en";
  const short = new Intl.DateTimeFormat(language, { month: "short", day: "numeric" });
  const long = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  const BAND = "MRR@10";
  const LOOKS = {
    "MRR@10": ["--kb-accent", []],
    "hit@1": ["--kb-good", [6, 3]],
    "recall@5": ["--kb-warning", [2, 3]],
    "nDCG@10": ["--kb-bad", [8, 3, 2, 3]],
  };

  function datasets(series) {
    const lines = Object.entries(LOOKS).map(([metric, [name, dash]]) => ({
      label: metric,
      data: series.metrics[metric].mean,
      borderColor: colour(name),
      backgroundColor: colour(name),
      borderDash: dash,
      borderWidth: 2,
      pointRadius: 3,
      spanGaps: true,
    }));
    const edge = (part, fill) => ({
      label: "",
      data: series.metrics[BAND][part],
      borderWidth: 0,
      pointRadius: 0,
      pointHitRadius: 0,
      backgroundColor: colour("--kb-accent", 0.14),
      fill,
    });
    return [...lines, edge("low", false), edge("high", "-1")];
  }

  function draw() {
    chart?.destroy();
    chart = null;
    const data = document.getElementById("evaluation-series");
    const canvas = document.getElementById("evaluation-chart");
    if (!data || !canvas) return;
    const series = JSON.parse(data.textContent);
    const times = series.times.map((time) => new Date(time));
    chart = new Chart(canvas, {
      type: "line",
      data: { labels: times.map((time) => short.format(time)), datasets: datasets(series) },
      options: {
        animation: false,
        // A point at 1 or 0 lies on the edge of the drawing.
        clip: false,
        responsive: true,
        maintainAspectRatio: false,
        locale: language,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: {
            grid: { display: false },
            border: { color: colour("--kb-line") },
            ticks: { color: colour("--kb-soft"), autoSkipPadding: 16, maxRotation: 0 },
          },
          y: {
            min: 0,
            max: 1,
            grid: { color: colour("--kb-line") },
            border: { display: false },
            ticks: { color: colour("--kb-soft"), maxTicksLimit: 6 },
          },
        },
        plugins: {
          legend: {
            position: "bottom",
            align: "start",
            labels: {
              color: colour("--kb-text"),
              boxHeight: 10,
              padding: 14,
              usePointStyle: true,
              pointStyle: "line",
              filter: (item) => item.text !== "",
            },
          },
          tooltip: {
            filter: (item) => item.dataset.label !== "",
            callbacks: {
              title: (items) => {
                if (!items.length) return "";
                const place = items[0].dataIndex;
                const asked = `${series.questions[place]} ${canvas.dataset.questions}`;
                return [series.names[place], `${long.format(times[place])}, ${asked}`];
              },
              label: (item) => {
                const { low, high } = series.metrics[item.dataset.label];
                const ends = [low, high].map((part) => part[item.dataIndex]?.toFixed(3));
                return `${item.dataset.label}: ${item.parsed.y.toFixed(3)} (${ends.join("–")})`;
              },
            },
          },
        },
      },
    });
  }

  draw();
  // The theme is a class of the root element.
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["class"] });
})();
