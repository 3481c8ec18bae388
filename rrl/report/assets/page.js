"use strict";
// Draws every chart of the page with uPlot. A chart: {id, x, y, unit, series: [{label, colour, dash, width, alpha, x, y}], bands, xs}; x is a place in xs.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const palette = JSON.parse(document.getElementById("palette").textContent);
  const short = v => v == null ? "-" : Math.abs(v) >= 1e6 ? +(v / 1e6).toFixed(2) + "M" : Math.abs(v) >= 1e3 ? +(v / 1e3).toFixed(1) + "k" : "" + +v.toFixed(3);
  const fade = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  // Two seeds have intervals of many deviations: lines set the scale, bands may leave it.
  const within = chart => {
    const seen = chart.series.filter(s => s.alpha).flatMap(s => s.y), low = Math.min(...seen), high = Math.max(...seen);
    const room = 0.15 * (high - low) || 0.5;
    return (plot, least, most) => [Math.max(least ?? low, low - room), Math.min(most ?? high, high + room)];
  };
  let drawn = [];

  function draw(chart) {
    const place = document.getElementById(chart.id);
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim(), rule = style.getPropertyValue("--rule").trim();
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, labelSize: 22, labelFont: "12px system-ui", font: "11px system-ui" };
    const tint = s => palette[s.colour % palette.length][dark.matches ? 1 : 0];
    const options = {
      width: place.clientWidth, height: 270, cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: chart.unit ? [-0.02, 1.02] : within(chart) } },
      axes: [
        { ...axis, label: chart.x, values: (u, vs) => vs.map(short), size: 34 },
        { ...axis, label: chart.y, values: (u, vs) => vs.map(short), size: 46 },
      ],
      series: [{ label: chart.x, value: (u, v) => short(v) }].concat(chart.series.map(s => ({
        label: s.label || "", stroke: fade(tint(s), s.alpha), width: s.width, dash: [undefined, [7, 5], [2, 4]][s.dash],
        spanGaps: true, points: { show: s.y.length < 2 }, value: (u, v) => short(v), class: s.label ? "named" : "unnamed",
      }))),
      bands: chart.bands.map(b => ({ series: [b.upper + 1, b.lower + 1], fill: fade(palette[b.colour % palette.length][dark.matches ? 1 : 0], b.alpha) })),
    };
    const plot = new uPlot(options, uPlot.join(chart.series.map(s => [chart.xs[s.x], s.y])), place);
    drawn.push([plot, place]);
  }

  function drawAll() {
    drawn.forEach(([plot]) => plot.destroy());
    drawn = [];
    charts.forEach(draw);
  }
  drawAll();
  dark.addEventListener("change", drawAll);
  addEventListener("resize", () => drawn.forEach(([plot, place]) => plot.setSize({ width: place.clientWidth, height: 270 })));

  const search = document.getElementById("search");
  if (search) search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase();
    document.querySelectorAll("#prefixes tbody tr").forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
  });

  const problems = [...document.querySelectorAll("details.problem")];
  if (problems.length) {
    const [find, outcome, difficulty, unfold, matching] = ["find", "outcome", "difficulty", "unfold", "matching"].map(i => document.getElementById(i));
    const whole = matching.textContent, texts = problems.map(p => p.textContent.toLowerCase());
    const fits = { "": () => true, none: o => o === "none", some: o => o !== "none", mixed: o => o === "mixed" };
    const filter = () => {
      const wanted = find.value.toLowerCase();
      problems.forEach((p, i) => {
        p.hidden = !(texts[i].includes(wanted) && fits[outcome.value](p.dataset.outcome) && ["", p.dataset.difficulty].includes(difficulty.value));
      });
      const left = problems.filter(p => !p.hidden).length;
      matching.textContent = left === problems.length ? whole : left + " match, out of " + whole;
    };
    [find, outcome, difficulty].forEach(c => c.addEventListener("input", filter));
    unfold.addEventListener("click", () => {
      const open = unfold.textContent === "open all";
      problems.filter(p => !p.hidden).forEach(p => { p.open = open; });
      unfold.textContent = open ? "close all" : "open all";
    });
    filter();  // a reload keeps what was chosen
  }
})();
