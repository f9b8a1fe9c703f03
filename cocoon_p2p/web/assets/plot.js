// Draws each element of class "plot" with uPlot, in the page's colours, dark and light.
//
//   <div class="plot" id="load" data-series='[{"label": "running", "color": "--accent", "fill": true}]'
//        data-points='[[seconds, ...], [values, ...]]'></div>
//
// New points come as document's event "live:plot": {"load": [[...], [...]]}.
"use strict";
(() => {
  const HEIGHT = 180;
  const LONG_SECONDS = 2 * 86400;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [];

  // Times of day, or days where there are several, in UTC as everywhere on our pages.
  function times(plot, splits) {
    const [first, last] = [plot.scales.x.min, plot.scales.x.max];
    const from = last - first > LONG_SECONDS ? 5 : 11;
    return splits.map((at) => new Date(at * 1000).toISOString().slice(from, from + 5));
  }

  // Of one point, or none, uPlot would show a span of years.
  function minute(_plot, first, last) {
    const end = last ?? Date.now() / 1000;
    return [Math.min(first ?? end, end - 60), end];
  }

  function draw(element) {
    const look = getComputedStyle(document.documentElement);
    const color = (name) => look.getPropertyValue(name).trim();
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const series = JSON.parse(element.dataset.series).map((one) => ({
      label: one.label,
      stroke: color(one.color),
      width: 2,
      dash: one.dash,
      fill: one.fill ? `${color(one.color)}22` : undefined,
      points: { show: false },
      paths: one.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
    }));
    const whole = { ...axis, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] };
    const options = {
      width: element.clientWidth,
      height: HEIGHT,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { range: minute },
        y: { range: (_plot, _low, high) => [0, Math.max(1, Math.ceil((high || 0) * 1.1))] },
      },
      axes: [{ ...axis, values: times, size: 30 }, element.dataset.whole === undefined ? { ...axis, size: 60 } : whole],
      series: [{}, ...series],
    };
    return new uPlot(options, JSON.parse(element.dataset.points), element);
  }

  function redraw(plot) {
    plot.drawn.destroy();
    plot.drawn = draw(plot.element);
  }

  for (const element of document.querySelectorAll(".plot")) {
    const plot = { element, drawn: draw(element) };
    plots.push(plot);
    new ResizeObserver(() => {
      if (element.clientWidth) plot.drawn.setSize({ width: element.clientWidth, height: HEIGHT });
    }).observe(element);
  }
  dark.addEventListener("change", () => plots.forEach(redraw));
  document.addEventListener("live:plot", (event) => {
    for (const plot of plots) {
      const points = event.detail[plot.element.id];
      if (!points) continue;
      plot.element.dataset.points = JSON.stringify(points);
      plot.drawn.setData(points);
    }
  });
})();
