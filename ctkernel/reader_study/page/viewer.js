// The image: slices as 16-bit HU in memory, drawn through a window onto a canvas.

const LOWEST = -1024, HIGHEST = 3071;
const AT_ONCE = 6;

export class Viewer {
  constructor(view, texts) {
    this.view = view;
    this.texts = texts;
    this.canvas = view.querySelector("canvas");
    this.pen = this.canvas.getContext("2d", { alpha: false });
    this.picture = document.createElement("canvas");
    this.presets = [[-600, 1500], [-850, 400], [40, 400]];
    // one opaque grey pixel for every HU
    this.shades = new Uint32Array(HIGHEST - LOWEST + 1);
    this.slices = [];
    this.shape = null;
    this.waiting = false;
    this.setWindow(...this.presets[0]);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(view);
  }

  // Shows a new image; `load(k, signal)` gives an ArrayBuffer. Window stays, position and zoom start anew.
  show(shape, spacing, load) {
    if (this.stop) this.stop.abort();
    this.stop = new AbortController();
    this.shape = shape;
    this.spacing = spacing;
    this.slices = new Array(shape[0]).fill(null);
    this.k = Math.floor(shape[0] / 2);
    this.picture.width = shape[2];
    this.picture.height = shape[1];
    this.pixels = this.picture.getContext("2d").createImageData(shape[2], shape[1]);
    this.words = new Uint32Array(this.pixels.data.buffer);
    // of this image nothing is there yet, and what is drawn is still the one before
    delete this.view.dataset.drawn;
    this.texts.loading.textContent = `loading, ${shape[0]} slices left`;
    this.fit();
    return this.loadAll(load, this.stop.signal, this.slices);
  }

  // The slice in view first, then its neighbours: scrolling can begin at once.
  async loadAll(load, signal, slices) {
    let left = slices.length;
    const worker = async () => {
      for (let k = this.nearestMissing(slices); k >= 0 && !signal.aborted; k = this.nearestMissing(slices)) {
        slices[k] = "asked";
        const content = await load(k, signal);
        if (signal.aborted) return;
        slices[k] = new Int16Array(content);
        left -= 1;
        this.texts.loading.textContent = left ? `loading, ${left} slices left` : "";
        if (k === this.k) this.draw();
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  nearestMissing(slices) {
    for (let d = 0; d < slices.length; d += 1) {
      if (slices[this.k + d] === null) return this.k + d;
      if (slices[this.k - d] === null) return this.k - d;
    }
    return -1;
  }

  setWindow(center, width) {
    this.center = Math.min(HIGHEST, Math.max(LOWEST, Math.round(center)));
    this.width = Math.min(4096, Math.max(10, Math.round(width)));
    const low = this.center - this.width / 2;
    for (let n = 0; n < this.shades.length; n += 1) {
      const grey = Math.min(255, Math.max(0, Math.round(((n + LOWEST - low) / this.width) * 255)));
      this.shades[n] = 0xff000000 + grey * 0x010101;
    }
    this.draw();
  }

  nextPreset() {
    const n = this.presets.findIndex(([c, w]) => c === this.center && w === this.width);
    this.setWindow(...this.presets[(n + 1) % this.presets.length]);
  }

  move(steps) {
    if (!this.shape) return;
    this.k = Math.min(this.shape[0] - 1, Math.max(0, this.k + steps));
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.shift = [0, 0];
    this.draw();
  }

  zoomBy(factor) {
    const before = this.zoom;
    this.zoom = Math.min(12, Math.max(0.5, this.zoom * factor));
    this.shift = this.shift.map((v) => (v * this.zoom) / before);
    this.draw();
  }

  // At most one picture a frame, however many events come.
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawNow();
    });
  }

  drawNow() {
    if (!this.shape) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.view.clientWidth, this.view.clientHeight];
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const [, rows, columns] = this.shape;
    const [, rowMm, columnMm] = this.spacing;
    // screen pixels a millimetre: the whole image fits at zoom 1
    const scale = Math.min(width / (columns * columnMm), height / (rows * rowMm)) * this.zoom;
    const [w, h] = [columns * columnMm * scale, rows * rowMm * scale];
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.fillStyle = "#000";
    this.pen.fillRect(0, 0, width, height);
    const voxels = this.slices[this.k];
    if (voxels instanceof Int16Array) {
      for (let n = 0; n < voxels.length; n += 1) this.words[n] = this.shades[voxels[n] - LOWEST];
      this.picture.getContext("2d").putImageData(this.pixels, 0, 0);
      this.pen.imageSmoothingEnabled = true;
      this.pen.imageSmoothingQuality = w < columns ? "high" : "low"; // linear when enlarged
      this.pen.drawImage(this.picture, (width - w) / 2 + this.shift[0], (height - h) / 2 + this.shift[1], w, h);
      this.view.dataset.drawn = `${this.k}`;
    } else {
      delete this.view.dataset.drawn;
    }
    this.texts.window.textContent = `C ${String(this.center).replace("-", "\u2212")}  W ${this.width} HU`;
    this.texts.slice.textContent = `slice ${this.k + 1} of ${this.shape[0]}`;
    this.texts.zoom.textContent = `zoom ${this.zoom.toFixed(1)}`;
    this.texts.scaleBar.style.width = `${50 * scale}px`;
    this.view.dispatchEvent(new Event("drawn"));
  }

  listen() {
    let rest = 0;
    this.view.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) return this.zoomBy(Math.exp(-event.deltaY / 400));
      // a wheel's notch is one slice; a touch pad sends many small steps
      rest += event.deltaMode === 0 ? event.deltaY / 60 : Math.sign(event.deltaY);
      const steps = Math.trunc(rest) || (Math.abs(event.deltaY) >= 50 ? Math.sign(event.deltaY) : 0);
      rest -= Math.trunc(rest);
      if (steps) this.move(-Math.sign(steps) * Math.min(5, Math.abs(steps)));
      return undefined;
    }, { passive: false });
    this.view.addEventListener("contextmenu", (event) => event.preventDefault());
    // Everything is reckoned from where the drag began, so that the way back leads to the same picture.
    let start = null;
    this.view.addEventListener("pointerdown", (event) => {
      this.view.setPointerCapture(event.pointerId);
      this.view.focus({ preventScroll: true });
      start = { x: event.clientX, y: event.clientY, center: this.center, width: this.width, shift: this.shift, zoom: this.zoom };
    });
    this.view.addEventListener("pointermove", (event) => {
      if (!event.buttons || !start) return;
      const [x, y] = [event.clientX - start.x, event.clientY - start.y];
      if (event.buttons === 4 || event.shiftKey) {
        this.shift = [start.shift[0] + x, start.shift[1] + y];
        this.draw();
      } else if (event.buttons === 2) {
        this.zoomBy((start.zoom * Math.exp(-y / 200)) / this.zoom);
      } else {
        const speed = Math.max(1, start.width / 400);
        this.setWindow(start.center + y * speed, start.width + x * speed);
      }
    });
    for (const end of ["pointerup", "pointercancel"]) this.view.addEventListener(end, () => { start = null; });
    this.view.addEventListener("dblclick", () => this.fit());
  }
}
