/* The table of all clips: one metric at a time below the previews, sorting and a filter. */
(function () {
  "use strict";
  const data = Report.data("clips-data");
  const table = document.querySelector("[data-clips]");
  const select = document.querySelector("[data-clips-metric]");
  const rows = Array.from(table.tBodies[0].rows);

  /* Which of the variants is best on a clip; none where there is no better, or only one value. */
  function bestOf(values, direction) {
    const known = values.filter((value) => value !== null);
    if (known.length < 2 || !direction) return null;
    if (direction === "one") return known.reduce((a, b) => (Math.abs(Math.log(b)) < Math.abs(Math.log(a)) ? b : a));
    return direction === "higher" ? Math.max(...known) : Math.min(...known);
  }

  function show() {
    const metric = data.metrics[select.selectedIndex];
    if (!metric) return;
    rows.forEach(function (row, clip) {
      const values = data.variants.map((_, variant) => data.values[metric.name][variant][clip]);
      const best = bestOf(values, metric.direction);
      values.forEach(function (value, variant) {
        const cell = row.cells[variant + 1];
        cell.querySelector("output").textContent = Report.number(value);
        cell.classList.toggle("best", value !== null && value === best);
        if (value === null) delete cell.dataset.value;
        else cell.dataset.value = value;
      });
    });
  }

  data.metrics.forEach((metric) => Report.option(select, metric.name, metric.unit ? `${metric.name} (${metric.unit})` : metric.name));
  select.addEventListener("change", show);
  show();
  Report.sortable(table);
  const input = document.querySelector("[data-clips-filter]");
  const count = document.querySelector("[data-clips-count]");
  input.addEventListener("input", () => (count.textContent = Report.filter(rows, input.value)));
})();
