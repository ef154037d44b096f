// Draws the charts of the first page, in the colours of the theme.
"use strict";

(() => {
  const charts = [];

  // A canvas takes no custom properties, and Chart.js no oklch(): painted, any colour is RGB.
  const probe = document.createElement("span");
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  function colour(name) {
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = getComputedStyle(probe).color;
    probe.remove();
    pixel.fillRect(0, 0, 1, 1);
    return `rgb(${[...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3).join(", ")})`;
  }

  const language = document.documentElement.lang || "en";
  const shortDay = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", timeZone: "UTC" });
  const longDay = new Intl.DateTimeFormat(language, { dateStyle: "full", timeZone: "UTC" });
  const day = (iso, format) => format.format(new Date(`${iso}T00:00:00Z`));

  function options(series, isStacked) {
    const text = colour("--kb-soft");
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      locale: language,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: {
          stacked: isStacked,
          grid: { display: false },
          border: { color: colour("--kb-line") },
          ticks: {
            color: text,
            autoSkipPadding: 16,
            maxRotation: 0,
            callback: (value, index) => day(series.days[index], shortDay),
          },
        },
        y: {
          stacked: isStacked,
          beginAtZero: true,
          grid: { color: colour("--kb-line") },
          border: { display: false },
          ticks: { color: text, maxTicksLimit: 6, precision: isStacked ? 0 : undefined },
        },
      },
      plugins: {
        legend: {
          position: "bottom",
          align: "start",
          labels: {
            color: colour("--kb-text"),
            boxWidth: isStacked ? 10 : 24,
            boxHeight: 10,
            padding: 14,
            usePointStyle: !isStacked,
            pointStyle: "line",
          },
        },
        tooltip: {
          callbacks: { title: (items) => (items.length ? day(items[0].label, longDay) : "") },
        },
      },
    };
  }

  function bars(canvas, series) {
    const set = (key, name) => ({
      label: canvas.dataset[key],
      data: series[key],
      backgroundColor: colour(name),
      hoverBackgroundColor: colour(name),
      maxBarThickness: 28,
      borderRadius: 2,
    });
    return {
      type: "bar",
      data: {
        labels: series.days,
        datasets: [set("high", "--kb-accent"), set("low", "--kb-warning"), set("none", "--kb-bad")],
      },
      options: options(series, true),
    };
  }

  function lines(canvas, series) {
    const set = (key, name, dash) => ({
      label: canvas.dataset[key],
      data: series[key],
      borderColor: colour(name),
      backgroundColor: colour(name),
      hoverBackgroundColor: colour(name),
      hoverBorderColor: colour(name),
      borderDash: dash,
      borderWidth: 2,
      pointRadius: series.days.length > 45 ? 1.5 : 2.5,
      tension: 0.25,
    });
    return {
      type: "line",
      data: {
        labels: series.days,
        datasets: [set("p50", "--kb-accent", []), set("p95", "--kb-warning", [5, 4])],
      },
      options: options(series, false),
    };
  }

  function weeks(canvas, series) {
    const chosen = options(series, false);
    chosen.scales.y.max = 100;
    chosen.plugins.legend.display = false;
    chosen.plugins.tooltip.callbacks.afterLabel = (item) => `n = ${series.votes[item.dataIndex]}`;
    const name = colour("--kb-accent");
    return {
      type: "line",
      data: {
        labels: series.days,
        datasets: [
          {
            label: canvas.dataset.share,
            data: series.share,
            borderColor: name,
            backgroundColor: name,
            borderWidth: 2,
            pointRadius: 3,
            spanGaps: true,
          },
        ],
      },
      options: chosen,
    };
  }

  // Kind of chart → what draws it, and where its numbers stand
  const KINDS = {
    searches: [bars, "usage-series"],
    latency: [lines, "usage-series"],
    satisfaction: [weeks, "satisfaction-series"],
  };

  function draw() {
    while (charts.length) charts.pop().destroy();
    for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
      const [config, numbers] = KINDS[canvas.dataset.chart];
      const series = JSON.parse(document.getElementById(numbers).textContent);
      charts.push(new Chart(canvas, config(canvas, series)));
    }
  }

  draw();
  // The theme is a class of the root element.
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["class"] });
  document.addEventListener("htmx:afterSettle", draw);
  // A range that cannot be shown comes with its sentence, which is to be read.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status !== 400) return;
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  });
})();
