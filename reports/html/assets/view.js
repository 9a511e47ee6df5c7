/* One view of several pictures: a scale and a centre that all panes share, moved by pointer, wheel and keys. */
(function () {
  "use strict";
  const LARGEST = 64; /* screen pixels for one of the frame */

  /* `width` and `height` are the frames'; `changed` is told after each change. */
  Report.View = class {
    constructor(stage, width, height, changed) {
      Object.assign(this, { stage, width, height, changed });
      this.panes = [];
      this.fitted = true;
      this.clicked = () => {};
      this.pointers = new Map();
      new ResizeObserver(() => this.layout()).observe(stage);
      this.listen();
    }

    /* Take other panes; each holds elements of the class `layer` of the frames' size. */
    setPanes(panes) {
      this.panes = panes;
      this.stage.replaceChildren(...panes);
      this.layout();
    }

    /* As many columns as make the pictures largest. */
    layout() {
      const width = this.stage.clientWidth;
      const count = this.panes.length;
      if (!count || !width) return;
      const most = Math.min(0.68 * innerHeight, 740);
      const rowsOf = (columns) => Math.ceil(count / columns);
      const sizeWith = (columns) => Math.min(width / columns / this.width, most / rowsOf(columns) / this.height);
      const columns = this.panes.map((_, at) => at + 1).reduce((a, b) => (sizeWith(b) > sizeWith(a) ? b : a));
      this.stage.style.setProperty("--columns", columns);
      this.stage.style.setProperty("--rows", rowsOf(columns));
      const tall = rowsOf(columns) * this.height * sizeWith(columns);
      this.stage.style.height = `${Math.max(160, Math.round(tall))}px`; /* no higher than the pictures need */
      if (this.fitted) this.fit();
      else this.apply();
    }

    get pane() {
      return { width: this.panes[0].clientWidth, height: this.panes[0].clientHeight };
    }

    get smallest() {
      return Math.min(this.pane.width / this.width, this.pane.height / this.height);
    }

    fit() {
      this.fitted = true;
      Object.assign(this, { scale: this.smallest, x: this.width / 2, y: this.height / 2 });
      this.apply();
    }

    /* Set the scale, with the point of the frame at (left, top) of a pane staying where it is. */
    zoomTo(scale, left = this.pane.width / 2, top = this.pane.height / 2) {
      const fit = this.smallest;
      const next = Math.min(Math.max(scale, fit), Math.max(LARGEST, fit));
      const [dx, dy] = [left - this.pane.width / 2, top - this.pane.height / 2];
      this.x += dx / this.scale - dx / next;
      this.y += dy / this.scale - dy / next;
      this.scale = next;
      this.fitted = next === fit;
      this.apply();
    }

    /* One pixel of the frame for each pixel of the screen. */
    one() {
      this.zoomTo(1 / devicePixelRatio);
    }

    moveBy(dx, dy) {
      this.x -= dx / this.scale;
      this.y -= dy / this.scale;
      this.apply();
    }

    apply() {
      if (!this.panes.length) return;
      const { width, height } = this.pane;
      /* No further than the frame's edge at the pane's edge; a side that fits stays in the middle. */
      const clamp = (centre, shown, whole) =>
        shown >= whole ? whole / 2 : Math.min(Math.max(centre, shown / 2), whole - shown / 2);
      this.x = clamp(this.x, width / this.scale, this.width);
      this.y = clamp(this.y, height / this.scale, this.height);
      /* On whole pixels of the screen, or frames would be blurred at 1:1. */
      const whole = (length) => Math.round(length * devicePixelRatio) / devicePixelRatio;
      const left = whole(width / 2 - this.x * this.scale);
      const top = whole(height / 2 - this.y * this.scale);
      for (const pane of this.panes) {
        for (const layer of pane.querySelectorAll(".layer")) {
          layer.style.transform = `translate(${left}px, ${top}px) scale(${this.scale})`;
        }
      }
      this.stage.style.setProperty("--hair", 1 / this.scale);
      this.stage.classList.toggle("coarse", this.scale * devicePixelRatio >= 2);
      this.stage.classList.toggle("fitted", this.fitted);
      this.changed();
    }

    /* Where a pointer is: in its pane, and in the frame. */
    locate(event) {
      const under = event.target.closest(".pane") || this.panes[0];
      const box = under.getBoundingClientRect();
      const [left, top] = [event.clientX - box.left, event.clientY - box.top];
      return {
        left,
        top,
        x: this.x + (left - this.pane.width / 2) / this.scale,
        y: this.y + (top - this.pane.height / 2) / this.scale,
      };
    }

    listen() {
      const { stage, pointers } = this;
      stage.addEventListener(
        "wheel",
        (event) => {
          event.preventDefault();
          const { left, top } = this.locate(event);
          const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
          this.zoomTo(this.scale * Math.exp(-event.deltaY * lines * 0.002), left, top);
        },
        { passive: false }
      );
      stage.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || event.target.closest(".handle")) return;
        this.travelled = pointers.size ? Infinity : 0; /* two fingers are no click */
        pointers.set(event.pointerId, { ...this.locate(event), clientX: event.clientX, clientY: event.clientY });
        stage.setPointerCapture(event.pointerId);
      });
      stage.addEventListener("pointermove", (event) => this.drag(event));
      const release = (event) => {
        const held = pointers.get(event.pointerId);
        if (pointers.delete(event.pointerId) && event.type === "pointerup" && this.travelled < 4) {
          this.clicked(held.x, held.y);
        }
      };
      stage.addEventListener("pointerup", release);
      stage.addEventListener("pointercancel", release);
      stage.addEventListener("keydown", (event) => this.press(event));
    }

    /* One pointer moves; of two, their middle moves and their distance zooms. */
    drag(event) {
      const was = this.pointers.get(event.pointerId);
      if (!was) return;
      const { clientX, clientY } = event;
      const [dx, dy] = [clientX - was.clientX, clientY - was.clientY];
      const other = [...this.pointers].find(([id]) => id !== event.pointerId);
      if (other) {
        const reach = (x, y) => Math.max(1, Math.hypot(x - other[1].clientX, y - other[1].clientY));
        const middle = [(was.left + other[1].left) / 2, (was.top + other[1].top) / 2];
        this.zoomTo((this.scale * reach(clientX, clientY)) / reach(was.clientX, was.clientY), ...middle);
        this.moveBy(dx / 2, dy / 2);
      } else {
        this.moveBy(dx, dy);
      }
      this.travelled += Math.hypot(dx, dy);
      this.pointers.set(event.pointerId, { ...was, clientX, clientY, left: was.left + dx, top: was.top + dy });
    }

    press(event) {
      if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = 60;
      const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      const zooms = {
        "+": () => this.zoomTo(this.scale * 1.25),
        "=": () => this.zoomTo(this.scale * 1.25),
        "-": () => this.zoomTo(this.scale / 1.25),
        0: () => this.fit(),
        1: () => this.one(),
      };
      if (moves[event.key]) this.moveBy(...moves[event.key]);
      else if (zooms[event.key]) zooms[event.key]();
      else return;
      event.preventDefault();
    }
  };
})();
