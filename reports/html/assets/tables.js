/* Adds to each table: headings that sort, a filter for rows, and a switch for intervals. */
(function () {
  "use strict";

  /* Numbers by value, missing ones last whichever way; labels as a reader would order them. */
  function compare(column, up) {
    return function (one, other) {
      const [a, b] = [one, other].map((row) => row.cells[column]);
      if (column === 0) {
        return (up ? 1 : -1) * a.textContent.trim().localeCompare(b.textContent.trim(), undefined, { numeric: true });
      }
      const [x, y] = [a, b].map((cell) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value)));
      if (x === null || y === null) return (x === null) - (y === null);
      return up ? x - y : y - x;
    };
  }

  function rowsOf(body) {
    return Array.from(body.rows).filter((row) => !row.classList.contains("group"));
  }

  /* Rows stay in their group; a third press brings back the order of the report. */
  Report.sortable = function (table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    const original = Array.from(table.tBodies, rowsOf);
    heads.forEach(function (head, column) {
      const button = Report.make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", function () {
        const was = head.getAttribute("aria-sort");
        const next = { ascending: "descending", descending: "" }[was] ?? "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        Array.from(table.tBodies).forEach(function (body, at) {
          const rows = original[at].slice();
          if (next) rows.sort(compare(column, next === "ascending"));
          body.append(...rows);
        });
      });
    });
  };

  /* Shows the rows whose text has every word. */
  Report.filter = function (rows, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach(function (row) {
      const content = row.cells[0].textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
      shown += row.hidden ? 0 : 1;
    });
    return words.length ? `${shown} of ${rows.length}` : "";
  };

  function equip(sheet) {
    const table = sheet.querySelector("table");
    Report.sortable(table);
    const bar = Report.make("div", { className: "choices" });
    if ("filter" in sheet.dataset) {
      const input = Report.make("input", { type: "search", autocomplete: "off" });
      const count = Report.make("span");
      count.setAttribute("role", "status");
      const rows = Array.from(table.tBodies).flatMap(rowsOf);
      input.addEventListener("input", () => (count.textContent = Report.filter(rows, input.value)));
      bar.append(Report.make("label", {}, "Filter rows ", input), count);
    }
    if ("intervals" in sheet.dataset) {
      const box = Report.make("input", { type: "checkbox" });
      box.addEventListener("change", () => table.classList.toggle("with-intervals", box.checked));
      bar.append(Report.make("label", {}, box, " 95 % intervals"));
    }
    if (bar.childNodes.length) sheet.querySelector(".scroll").before(bar);
  }

  document.querySelectorAll("[data-sheet]").forEach(equip);
})();
