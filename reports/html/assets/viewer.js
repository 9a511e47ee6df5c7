/* The viewer of a clip: slider, side by side and difference; frames, seams and zoom are the same in all. */
(function () {
  "use strict";
  const data = Report.data("clip-data");
  const box = document.querySelector("[data-viewer]");
  const part = (name) => box.querySelector(`[data-${name}]`);
  const pictures = data.pictures.filter((picture) => picture.frames.length);
  const byName = new Map(pictures.map((picture) => [picture.name, picture]));
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const MODES = { slider: "Slider", beside: "Side by side", difference: "Difference" };
  const SVG = "http://www.w3.org/2000/svg";

  if (!pictures.length) {
    box.replaceChildren(Report.make("p", { className: "warning" }, "There is no picture of this clip to look at."));
    return;
  }

  /* Output first where there is one: what was asked for by the address, or the last; against the truth or the first. */
  function initial() {
    const asked = decodeURIComponent((location.hash.match(/^#show=(.*)$/) || ["", ""])[1]);
    const outputs = pictures.filter((picture) => picture.kind === "output");
    const b = byName.get(asked) || outputs[outputs.length - 1] || pictures[pictures.length - 1];
    const a = outputs.find((picture) => picture !== b) || pictures.find((picture) => picture !== b) || b;
    return { mode: "slider", a, b, beside: new Set([a, b]), frame: 0, seams: false, gain: 4, at: 0.5, line: null };
  }

  const state = initial();
  const view = new Report.View(part("stage"), data.width, data.height, () => {
    part("zoom-text").textContent = `${Math.round(view.scale * devicePixelRatio * 100)} %`;
  });

  /* ---- layers, of the frames' size: a picture's frame, and its seams over it ---- */

  function lines(picture) {
    const drawn = document.createElementNS(SVG, "svg");
    drawn.setAttribute("viewBox", `0 0 ${data.width} ${data.height}`);
    drawn.setAttribute("aria-hidden", "true");
    const add = (kind, axis, position) => {
      const line = document.createElementNS(SVG, "line");
      line.setAttribute("class", kind);
      const along = axis === "rows" ? { x1: 0, x2: data.width, y1: position, y2: position } : { x1: position, x2: position, y1: 0, y2: data.height };
      Object.entries(along).forEach(([name, value]) => line.setAttribute(name, value));
      drawn.append(line);
    };
    if (state.seams) for (const axis of ["rows", "columns"]) (picture.cuts[axis] || []).forEach((at) => add("seam", axis, at));
    if (state.line) add("slice", state.line.axis, state.line.position + 0.5);
    return drawn;
  }

  function sheetOf(className) {
    const made = Report.make("div", { className: `layer ${className}` });
    made.style.width = `${data.width}px`;
    made.style.height = `${data.height}px`;
    return made;
  }

  function overlayOf(picture) {
    const overlay = sheetOf("overlay");
    overlay.picture = picture;
    overlay.append(lines(picture));
    return overlay;
  }

  function frameOf(picture) {
    const layer = sheetOf(picture.kind === "input" ? "frame input" : "frame");
    layer.picture = picture;
    return layer;
  }

  /* Put the current frame into a layer once it is decoded, so that nothing flashes; resolves in any case. */
  function load(layer) {
    const address = Report.root() + layer.picture.frames[state.frame];
    if (layer.wanted === address) return Promise.resolve();
    layer.wanted = address;
    const image = Report.make("img", { alt: `${layer.picture.name}, frame ${data.shown[state.frame]}`, draggable: false });
    image.src = address;
    const put = (made) => {
      if (layer.wanted !== address) return; /* another frame was asked for in the meantime */
      layer.querySelectorAll("img, .broken").forEach((old) => old.remove());
      layer.prepend(made);
    };
    return image.decode().then(
      () => put(image),
      () => put(Report.make("p", { className: "broken" }, `Frame ${data.shown[state.frame]} of ${layer.picture.name} cannot be shown.`))
    );
  }

  /* ---- panes of the three modes ---- */

  function pane(...children) {
    return Report.make("div", { className: "pane" }, ...children);
  }

  function label(text, side = "") {
    return Report.make("span", { className: `name ${side}` }, text);
  }

  function sliderPane() {
    const above = Report.make("div", { className: "clipped" }, frameOf(state.a), overlayOf(state.a));
    const handle = Report.make("div", { className: "handle", tabIndex: 0 });
    const made = pane(frameOf(state.b), overlayOf(state.b), above, label(state.a.name), label(state.b.name, "right"), handle);
    const set = (share) => {
      state.at = Math.min(Math.max(share, 0), 1);
      made.style.setProperty("--at", `${state.at * 100}%`);
      handle.setAttribute("aria-valuenow", Math.round(state.at * 100));
      handle.setAttribute("aria-valuetext", `${Math.round(state.at * 100)} % ${state.a.name}`);
    };
    const attributes = { role: "slider", "aria-label": "Border between the two pictures", "aria-valuemin": 0, "aria-valuemax": 100 };
    Object.entries(attributes).forEach(([name, value]) => handle.setAttribute(name, value));
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.stopPropagation();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const bounds = made.getBoundingClientRect();
      set((event.clientX - bounds.left) / bounds.width);
    });
    handle.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
      if (!(event.key in moves)) return;
      set(state.at + moves[event.key]);
      event.preventDefault();
    });
    set(state.at);
    return made;
  }

  function differencePane() {
    const second = frameOf(state.b);
    second.classList.add("minus");
    const both = Report.make("div", { className: "difference" }, frameOf(state.a), second);
    both.style.filter = `brightness(${state.gain})`;
    return pane(both, overlayOf(state.a), overlayOf(state.b), label(`|${state.a.name} − ${state.b.name}| × ${state.gain}`));
  }

  function panes() {
    if (state.mode === "slider") return [sliderPane()];
    if (state.mode === "difference") return [differencePane()];
    return pictures.filter((picture) => state.beside.has(picture)).map((picture) => pane(frameOf(picture), overlayOf(picture), label(picture.name)));
  }

  function all(kind) {
    return Array.from(part("stage").querySelectorAll(`.${kind}`));
  }

  /* ---- showing ---- */

  function rebuild() {
    view.setPanes(panes());
    part("pair").hidden = state.mode === "beside";
    part("choose").hidden = state.mode !== "beside";
    part("gain-box").hidden = state.mode !== "difference";
    part("first").textContent = state.mode === "difference" ? "Of" : "Left";
    part("second").textContent = state.mode === "difference" ? "and" : "Right";
    part("a").value = state.a.name;
    part("b").value = state.b.name;
    return showFrame();
  }

  function showFrame() {
    const index = data.shown[state.frame];
    const seam = all("frame").some((layer) => (layer.picture.cuts.frames || []).includes(index));
    part("frame").textContent = `frame ${index}${state.seams && seam ? ", tiles end before it" : ""}`;
    part("scrub").value = state.frame;
    part("scrub").setAttribute("aria-valuetext", `frame ${index}`);
    return Promise.all(all("frame").map(load));
  }

  function redraw() {
    all("overlay").forEach((overlay) => overlay.replaceChildren(lines(overlay.picture)));
    showFrame();
  }

  function step(by) {
    state.frame = (state.frame + by + data.shown.length) % data.shown.length;
    return showFrame();
  }

  let playing = false;

  function play(on) {
    playing = on && data.shown.length > 1;
    part("play").textContent = playing ? "Stop" : "Play";
    part("play").setAttribute("aria-pressed", playing);
    const pause = still.matches ? 1000 : 250;
    const next = () => playing && step(1).then(() => setTimeout(next, pause));
    if (playing) setTimeout(next, pause);
  }

  function exchange() {
    [state.a, state.b] = [state.b, state.a];
    rebuild();
  }

  /* ---- controls ---- */

  function choices() {
    Object.entries(MODES).forEach(([mode, text]) => {
      const input = Report.make("input", { type: "radio", name: "mode", value: mode, checked: mode === state.mode });
      input.addEventListener("change", () => {
        state.mode = mode;
        rebuild();
      });
      part("modes").append(Report.make("label", {}, input, ` ${text}`));
    });
    for (const side of ["a", "b"]) {
      pictures.forEach((picture) => Report.option(part(side), picture.name));
      part(side).addEventListener("change", () => {
        state[side] = byName.get(part(side).value);
        rebuild();
      });
    }
    data.pictures.forEach((picture) => {
      const input = Report.make("input", { type: "checkbox", checked: state.beside.has(picture), disabled: !byName.has(picture.name) });
      input.addEventListener("change", () => {
        if (input.checked) state.beside.add(picture);
        else if (state.beside.size > 1) state.beside.delete(picture);
        else input.checked = true; /* one has to stay */
        rebuild();
      });
      part("choose").append(Report.make("label", { title: picture.absent }, input, ` ${picture.name}${picture.absent ? " (no picture)" : ""}`));
    });
  }

  function controls() {
    part("swap").addEventListener("click", exchange);
    part("gain").addEventListener("input", () => {
      state.gain = Number(part("gain").value);
      part("gain-text").textContent = `${state.gain}×`;
      rebuild();
    });
    const cut = pictures.some((picture) => (picture.cuts.rows || []).length + (picture.cuts.columns || []).length);
    part("seams").disabled = !cut;
    part("seams").addEventListener("change", () => {
      state.seams = part("seams").checked;
      redraw();
    });
    const zooms = { out: () => view.zoomTo(view.scale / 1.5), in: () => view.zoomTo(view.scale * 1.5), fit: () => view.fit(), one: () => view.one() };
    box.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", zooms[button.dataset.zoom]));
    part("scrub").max = data.shown.length - 1;
    part("scrub").addEventListener("input", () => {
      state.frame = Number(part("scrub").value);
      showFrame();
    });
    part("play").addEventListener("click", () => play(!playing));
    box.querySelector(".scrub").hidden = data.shown.length < 2;
  }

  /* Keys of the whole page, unless they are typed into something. */
  function keys() {
    const actions = { ",": () => step(-1), ".": () => step(1), p: () => play(!playing), s: () => part("seams").click(), x: exchange };
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches("select, textarea, input:not([type=radio], [type=checkbox], [type=range])");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
      actions[event.key]();
      event.preventDefault();
    });
  }

  Report.viewer = {
    state,
    view,
    /* Mark the row or column of pixels that is shown over time. */
    showLine: (axis, position) => {
      state.line = { axis, position };
      redraw();
    },
    /* The shown frame that is nearest to a frame of the clip. */
    showNearest: (index) => {
      const distance = (at) => Math.abs(data.shown[at] - index);
      state.frame = data.shown.map((_, at) => at).reduce((a, b) => (distance(b) < distance(a) ? b : a));
      showFrame();
    },
  };
  choices();
  controls();
  keys();
  rebuild();
})();
