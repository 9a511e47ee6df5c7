/* Interactive figures: plotly is loaded when the first of them comes into view. */
(function () {
  "use strict";
  /* Okabe and Ito's colours, which differ to colour-blind readers too; shapes and dashes tell more variants apart. */
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#7f7f7f"];
  const SHAPES = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  let library = null;

  function plotly() {
    library = library || new Promise((resolve, reject) => {
      const script = Report.make("script", { src: `${Report.root()}assets/plotly.min.js` });
      script.addEventListener("load", () => resolve(window.Plotly));
      script.addEventListener("error", () => reject(new Error("assets/plotly.min.js is missing")));
      document.head.append(script);
    });
    return library;
  }

  function styled(at) {
    const colour = COLOURS[at % COLOURS.length];
    return {
      marker: { color: colour, symbol: SHAPES[Math.floor(at / COLOURS.length + at) % SHAPES.length], size: 9 },
      line: { color: colour, dash: DASHES[Math.floor(at / COLOURS.length) % DASHES.length], width: 2 },
    };
  }

  /* Names come from runs and plotly reads some HTML in them. */
  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function titled(metric) {
    const arrows = { higher: " ↑", lower: " ↓", one: " → 1" };
    return plain(metric.name) + (metric.unit ? ` (${plain(metric.unit)})` : "") + (arrows[metric.direction] || "");
  }

  function layout(x, y) {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const rule = style.getPropertyValue("--rule").trim();
    const axis = (title, more) => ({ title: { text: title }, gridcolor: rule, zerolinecolor: rule, linecolor: rule, automargin: true, ...more });
    return {
      font: { color: ink, family: "system-ui, sans-serif", size: 13 },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      margin: { t: 16, r: 16, l: 56, b: 48 },
      xaxis: axis(x.title, x.more),
      yaxis: axis(y.title, y.more),
      legend: { orientation: "h", y: -0.25 },
      modebar: { bgcolor: "transparent", color: rule, activecolor: ink },
      hovermode: "closest",
    };
  }

  function select(choices, name, items, chosen, changed) {
    const made = Report.make("select");
    items.forEach((item) => Report.option(made, item));
    made.value = chosen;
    made.addEventListener("change", () => changed(made.value));
    choices.append(Report.make("label", {}, `${name} `, made));
    return made;
  }

  const find = (metrics, name) => metrics.find((metric) => metric.name === name);

  /* ---- the three kinds: each fills `choices`, and gives what to draw ---- */

  const KINDS = {
    means: function (data, choices, redraw) {
      const chosen = { at: 0, x: data[0].x, y: data[0].y, log: false };
      const names = () => data[chosen.at].metrics.map((metric) => metric.name);
      const axes = () => {
        choices.replaceChildren();
        if (data.length > 1) {
          const settings = data.map((one) => one.setting);
          select(choices, "Setting", settings, settings[chosen.at], (setting) => {
            const at = settings.indexOf(setting);
            Object.assign(chosen, { at, x: data[at].x, y: data[at].y });
            axes();
            redraw();
          });
        }
        for (const axis of ["x", "y"]) {
          select(choices, axis === "x" ? "Across" : "Up", names(), chosen[axis], (name) => {
            chosen[axis] = name;
            redraw();
          });
        }
        const box = Report.make("input", { type: "checkbox", checked: chosen.log });
        box.addEventListener("change", () => {
          chosen.log = box.checked;
          redraw();
        });
        choices.append(Report.make("label", {}, box, " logarithmic across"));
      };
      axes();
      return function () {
        const { metrics, values } = data[chosen.at];
        const x = find(metrics, chosen.x) || metrics[0];
        const y = find(metrics, chosen.y) || metrics[0];
        const error = (cell) => cell.low === null ? undefined : {
          type: "data", symmetric: false, array: [cell.high - cell.mean], arrayminus: [cell.mean - cell.low], thickness: 1, width: 3,
        };
        const traces = Object.entries(values).map(([variant, cells], at) => ({
          type: "scatter",
          mode: "markers",
          name: plain(variant),
          x: [cells[x.name].mean],
          y: [cells[y.name].mean],
          error_x: error(cells[x.name]),
          error_y: error(cells[y.name]),
          marker: { ...styled(at).marker, size: 12 },
          hovertemplate: `${plain(variant)}<br>%{xaxis.title.text}: %{x:.4g}<br>%{yaxis.title.text}: %{y:.4g}<extra></extra>`,
        }));
        return { traces, layout: layout({ title: titled(x), more: { type: chosen.log ? "log" : "linear" } }, { title: titled(y) }) };
      };
    },

    clips: function (data, choices, redraw) {
      let name = data.metrics[0].name;
      select(choices, "Metric", data.metrics.map((metric) => metric.name), name, (chosen) => {
        name = chosen;
        redraw();
      });
      return function () {
        const traces = data.variants.map((variant, at) => ({
          type: "scatter",
          mode: data.clips.length > 60 ? "markers" : "lines+markers",
          name: plain(variant),
          x: data.clips.map((_, clip) => clip),
          y: data.values[name][at],
          text: data.clips.map(plain),
          ...styled(at),
          hovertemplate: `${plain(variant)} on %{text}: %{y:.4g}<extra></extra>`,
        }));
        const ticks = data.clips.length > 30 ? { showticklabels: false } : { tickvals: data.clips.map((_, clip) => clip), ticktext: data.clips.map(plain) };
        return { traces, layout: layout({ title: "clip", more: ticks }, { title: titled(find(data.metrics, name)) }) };
      };
    },

    frames: function (data, choices, redraw) {
      let name = data.metrics[0].name;
      select(choices, "Metric", data.metrics.map((metric) => metric.name), name, (chosen) => {
        name = chosen;
        redraw();
      });
      return function () {
        const traces = Object.entries(data.values[name]).map(([variant, values], at) => ({
          type: "scatter",
          mode: values.length > 60 ? "lines" : "lines+markers",
          name: plain(variant),
          x: values.map((_, frame) => frame),
          y: values,
          ...styled(at),
          hovertemplate: `${plain(variant)}, scored frame %{x}: %{y:.4g}<extra></extra>`,
        }));
        const ticks = { tickformat: "d", dtick: Math.max(...traces.map((trace) => trace.x.length)) < 12 ? 1 : undefined };
        /* Metrics that leave frames out have values of other frames than their places say. */
        const everyFrame = traces.every((trace) => trace.x.length === Report.data("clip-data").count);
        const clicked = (event) => Report.viewer && everyFrame && Report.viewer.showNearest(event.points[0].x);
        return { traces, layout: layout({ title: "frames that the metric scores", more: ticks }, { title: titled(find(data.metrics, name)) }), clicked };
      };
    },
  };

  function draw(box) {
    const plot = box.querySelector("[data-plot]");
    const data = Report.data(box.dataset.source);
    if (!Object.keys(data).length || (data.metrics && !data.metrics.length)) {
      plot.textContent = "There is no value to draw.";
      return;
    }
    let spec;
    const redraw = () => plotly().then((library) => {
      const { traces, layout, clicked } = spec();
      const still = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
      return library.react(plot, traces, layout, still).then(() => {
        plot.removeAllListeners("plotly_click");
        if (clicked) plot.on("plotly_click", clicked);
      });
    }, (error) => { plot.textContent = error.message; });
    spec = KINDS[box.dataset.chart](data, box.querySelector("[data-choices]"), redraw);
    document.addEventListener("report:theme", redraw);
    redraw();
  }

  /* Not before it is seen: parsing the library takes long enough to be felt while something else is scrolled. */
  const watch = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      watch.unobserve(entry.target);
      draw(entry.target);
    });
  });
  document.querySelectorAll("[data-chart]").forEach((box) => watch.observe(box));
})();
