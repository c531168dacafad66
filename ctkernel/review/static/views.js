// The four pictures: linked slices, zoom and window; drawn once a frame at most.

import { Colours, DIFFERENCE_HU, paintDifference, paintVolume, sizeOf } from "./painting.js";
import { listen } from "./gestures.js";

const SCALE_BAR_MM = 50;
const NAMES = { axial: "Axial", coronal: "Coronal" };

// The browser lays the page out again even for a text that is the same.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Views {
  constructor(container, changed) {
    this.container = container;
    this.changed = changed; // told when a gesture changed something that a control shows
    this.voxels = null;
    this.titles = [];
    this.look = { width: 1500, centre: -600, opacity: 0.65, overlay: true, threshold: -950, second: "synthetic" };
    this.at = { axial: 0, coronal: 0 };
    this.zoom = 1;
    this.shift = { x: 0, axial: 0, coronal: 0 }; // mm
    this.colours = new Colours();
    this.panes = [];
    for (const kind of ["axial", "coronal"]) for (const number of [0, 1]) this.panes.push(this.addPane(kind, number));
    new ResizeObserver(() => this.draw()).observe(container);
    this.waiting = false;
  }

  // Show other voxels; the place is kept where the scan is the same.
  show(voxels, titles, keep) {
    this.voxels = voxels;
    this.titles = titles;
    if (!keep) {
      this.at = { axial: voxels.slices >> 1, coronal: voxels.rows >> 1 };
      this.fit();
    }
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.shift = { x: 0, axial: 0, coronal: 0 };
    this.draw();
  }

  count(kind) {
    return kind === "axial" ? this.voxels.slices : this.voxels.rows;
  }

  goTo(kind, index) {
    this.at[kind] = Math.max(0, Math.min(this.count(kind) - 1, Math.round(index)));
    this.draw();
  }

  setWindow(width, centre) {
    this.look.width = Math.max(20, Math.min(4000, Math.round(width)));
    this.look.centre = Math.max(-1200, Math.min(1500, Math.round(centre)));
    this.draw();
    this.changed();
  }

  setZoom(zoom) {
    this.zoom = Math.max(0.5, Math.min(12, zoom));
    this.draw();
  }

  move(kind, x, y) {
    this.shift.x += x;
    this.shift[kind] += y;
    this.draw();
  }

  addPane(kind, number) {
    const element = document.createElement("div");
    element.className = "view";
    element.tabIndex = 0;
    element.setAttribute("role", "slider");
    element.setAttribute("aria-orientation", "vertical");
    element.dataset.view = `${kind}-${number}`;
    const canvas = element.appendChild(document.createElement("canvas"));
    canvas.setAttribute("aria-hidden", "true");
    const [cut, bar] = ["cut", "bar"].map((name) => element.appendChild(Object.assign(document.createElement("i"), { className: name })));
    const texts = {};
    for (const name of ["title", "right", "left", "place", "scale", "levels", "value", "legend", "use"]) {
      texts[name] = element.appendChild(document.createElement("span"));
      texts[name].className = name;
    }
    texts.right.textContent = "R";
    texts.left.textContent = "L";
    texts.scale.textContent = "5 cm";
    texts.use.textContent = "Research use only. Not for diagnosis.";
    this.container.append(element);
    const pane = { kind, number, element, canvas, texts, cut, bar, image: null, buffer: document.createElement("canvas") };
    listen(this, pane);
    return pane;
  }

  // Draw in the next frame.
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.voxels) this.drawNow();
    });
  }

  drawNow() {
    const { width, centre, opacity } = this.look;
    this.colours.prepare(width, centre, opacity);
    for (const pane of this.panes) this.drawPane(pane);
    document.body.dataset.draws = Number(document.body.dataset.draws) + 1;
  }

  isDifference(pane) {
    return pane.number === 1 && this.look.second === "difference" && this.titles.length > 1;
  }

  drawPane(pane) {
    const { kind, number, canvas } = pane;
    const there = number < this.titles.length;
    const size = sizeOf(this.voxels, kind);
    const sharpness = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(canvas.clientWidth * sharpness), Math.round(canvas.clientHeight * sharpness)];
    const scale = this.scale(pane) * sharpness;
    const [width, height] = [size.width * size.mmX * scale, size.height * size.mmY * scale];
    const left = w / 2 - width / 2 + this.shift.x * scale;
    const top = h / 2 - height / 2 + this.shift[kind] * scale;
    const fresh = there && this.fillBuffer(pane, size);
    const wanted = [w, h, left, top, width, there].join();
    if (fresh || pane.drawn !== wanted) {
      pane.drawn = wanted;
      if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
      const context = canvas.getContext("2d", { alpha: false });
      context.fillStyle = "#000";
      context.fillRect(0, 0, w, h);
      if (there && w > 0 && h > 0) context.drawImage(pane.buffer, left, top, width, height);
    }
    this.placeLines(pane, top / sharpness, height / sharpness, scale / sharpness);
    this.write(pane, there);
  }

  // Paint the plane if something in it changed; tells whether.
  fillBuffer(pane, size) {
    const { kind, number, buffer } = pane;
    if (!pane.image || pane.image.width !== size.width || pane.image.height !== size.height) {
      [buffer.width, buffer.height] = [size.width, size.height];
      pane.image = new ImageData(size.width, size.height);
      pane.pixels = new Uint32Array(pane.image.data.buffer);
      pane.painted = "";
    }
    const index = this.at[kind];
    const threshold = this.look.overlay ? this.look.threshold : null;
    const wanted = [index, this.voxels.number, this.voxels.blocks, this.isDifference(pane) || [this.colours.known, threshold]].join();
    if (pane.painted === wanted) return false;
    pane.painted = wanted;
    if (this.isDifference(pane)) paintDifference(pane.pixels, this.voxels, kind, index, this.colours);
    else paintVolume(pane.pixels, this.voxels, number, kind, index, threshold, this.colours);
    buffer.getContext("2d").putImageData(pane.image, 0, 0);
    return true;
  }

  // CSS pixels a mm.
  scale(pane) {
    const size = sizeOf(this.voxels, pane.kind);
    const { clientWidth, clientHeight } = pane.canvas;
    return this.zoom * Math.min(clientWidth / (size.width * size.mmX), clientHeight / (size.height * size.mmY));
  }

  // Where the other plane cuts, and 5 cm.
  placeLines(pane, top, height, scale) {
    const share = pane.kind === "axial" ? (this.at.coronal + 0.5) / this.voxels.rows : 1 - (this.at.axial + 0.5) / this.voxels.slices;
    pane.cut.style.transform = `translateY(${(top + share * height).toFixed(1)}px)`;
    const width = `${(SCALE_BAR_MM * scale).toFixed(1)}px`;
    if (pane.bar.style.width !== width) pane.bar.style.width = width;
  }

  write(pane, there) {
    const { kind, number, texts, element } = pane;
    const index = this.at[kind];
    const count = this.count(kind);
    const { width, centre, threshold, overlay } = this.look;
    const difference = this.isDifference(pane);
    const volume = this.titles[number];
    const title = difference ? "DIFFERENCE, synthetic minus original" : there ? volume.title : "Not normalized yet";
    setText(texts.title, title);
    element.classList.toggle("is-empty", !there);
    element.classList.toggle("is-synthetic", Boolean(difference || (there && volume.synthetic)));
    const z = kind === "axial" ? `, z ${(this.voxels.firstZ + index * this.voxels.dz).toFixed(1)} mm` : "";
    setText(texts.place, `${NAMES[kind]} ${index + 1} of ${count}${z}`);
    setText(texts.levels, difference || !there ? "" : `W ${width}  L ${centre}`);
    this.writeLegend(texts.legend, difference, there && overlay && this.voxels.lungs !== null, threshold);
    if (!there) setText(texts.value, "");
    for (const [name, value] of Object.entries({
      "aria-label": `${NAMES[kind]} picture, ${title}`,
      "aria-valuemin": 1,
      "aria-valuemax": count,
      "aria-valuenow": index + 1,
      "aria-valuetext": `slice ${index + 1} of ${count}, window ${width}, centre ${centre}`,
    })) if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }

  writeLegend(legend, difference, overlay, threshold) {
    const wanted = difference ? "difference" : overlay ? `below ${threshold} HU` : "";
    if (legend.dataset.shows === wanted) return;
    legend.dataset.shows = wanted;
    legend.replaceChildren();
    if (difference) {
      legend.append(Object.assign(document.createElement("i"), { className: "difference" }));
      legend.append(`-${DIFFERENCE_HU} HU     0    +${DIFFERENCE_HU} HU`);
    } else if (wanted) legend.append(`■ lung ${wanted}`);
    legend.style.color = difference ? "" : "#ff8078";
  }

  // Voxel under a point of a pane, in canonical indices.
  voxelAt(pane, x, y) {
    const size = sizeOf(this.voxels, pane.kind);
    const scale = this.scale(pane);
    const { clientWidth, clientHeight } = pane.canvas;
    const column = Math.floor((x - clientWidth / 2 - this.shift.x * scale) / (size.mmX * scale) + size.width / 2);
    const row = Math.floor((y - clientHeight / 2 - this.shift[pane.kind] * scale) / (size.mmY * scale) + size.height / 2);
    return pane.kind === "axial"
      ? { k: this.at.axial, j: row, i: column }
      : { k: this.voxels.slices - 1 - row, j: this.at.coronal, i: column };
  }

  // HU under the pointer, in both pictures of the row.
  point(pane, x, y) {
    const { k, j, i } = this.voxelAt(pane, x, y);
    for (const other of this.panes) {
      const value = other.kind === pane.kind && other.number < this.titles.length ? this.valueOf(other, k, j, i) : null;
      setText(other.texts.value, value === null ? "" : `${value} HU`);
    }
  }

  valueOf(pane, k, j, i) {
    const value = this.voxels.value(pane.number, k, j, i);
    if (value === null || !this.isDifference(pane)) return value;
    const original = this.voxels.value(0, k, j, i);
    return original === null ? null : value - original;
  }

  cutThrough(pane, x, y) {
    const { k, j } = this.voxelAt(pane, x, y);
    if (pane.kind === "axial") this.goTo("coronal", j);
    else this.goTo("axial", k);
  }
}
