/* Rows and columns of pixels over time. Each picture holds one block for each prepared line; one block is shown. */
(function () {
  "use strict";
  const box = document.querySelector("[data-slices]");
  if (!box) return;
  const data = Report.data("clip-data");
  const lines = box.querySelector("[data-lines]");
  const strips = box.querySelector("[data-strips]");
  const pictures = data.pictures.filter((picture) => picture.rows);
  const tall = Math.max(2, Math.round(120 / data.span)); /* screen pixels for one frame */
  let shown = { axis: "rows", at: Math.floor(data.at.rows.length / 2) };

  const made = pictures.map((picture) => {
    const image = Report.make("img", { alt: "", loading: "lazy", decoding: "async" });
    const window = Report.make("div", { className: "strip" }, image);
    window.style.height = `${tall * data.span}px`;
    strips.append(Report.make("figure", {}, Report.make("figcaption", {}, picture.name), window));
    return { picture, image };
  });

  function show() {
    const { axis, at } = shown;
    const position = data.at[axis][at];
    made.forEach(({ picture, image }) => {
      const address = Report.root() + picture[axis];
      if (image.getAttribute("src") !== address) image.src = address;
      image.style.height = `${tall * data.span * data.at[axis].length}px`;
      image.style.transform = `translateY(${-at * tall * data.span}px)`;
      image.alt = `${picture.name}, ${axis === "rows" ? "row" : "column"} ${position} over time`;
    });
    lines.querySelectorAll("input").forEach((input) => (input.checked = input.value === `${axis} ${at}`));
  }

  /* Chosen lines are marked in the viewer; the first one, which nobody chose, is not. */
  function choose(axis, at) {
    shown = { axis, at };
    show();
    if (Report.viewer) Report.viewer.showLine(axis, data.at[axis][at]);
  }

  for (const axis of ["rows", "columns"]) {
    data.at[axis].forEach((position, at) => {
      const input = Report.make("input", { type: "radio", name: "line", value: `${axis} ${at}` });
      input.addEventListener("change", () => choose(axis, at));
      lines.append(Report.make("label", {}, input, ` ${axis === "rows" ? "row" : "column"} ${position}`));
    });
  }

  /* A click on a picture takes the nearest line of the kind that is shown. */
  if (Report.viewer) {
    Report.viewer.view.clicked = (x, y) => {
      const positions = data.at[shown.axis];
      const distance = (at) => Math.abs(positions[at] - (shown.axis === "rows" ? y : x));
      choose(shown.axis, positions.map((_, at) => at).reduce((a, b) => (distance(b) < distance(a) ? b : a)));
    };
  }
  show();
})();
