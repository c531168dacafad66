// Colours of voxels: grey window, emphysema over it, difference; one plane into the pixels of an image.

const LOWEST = -32768;
const EMPHYSEMA = [255, 60, 52];
export const DIFFERENCE_HU = 150;

function packed(red, green, blue) {
  return (255 << 24) | (blue << 16) | (green << 8) | red;
}

export class Colours {
  constructor() {
    this.grey = new Uint32Array(65536);
    this.red = new Uint32Array(65536);
    this.difference = new Uint32Array(2 * DIFFERENCE_HU + 1);
    this.known = "";
    for (let d = -DIFFERENCE_HU; d <= DIFFERENCE_HU; d++) {
      const share = Math.abs(d) / DIFFERENCE_HU;
      const end = d < 0 ? [74, 163, 255] : [255, 154, 60];
      const [red, green, blue] = [16, 19, 22].map((dark, n) => Math.round(dark + share * (end[n] - dark)));
      this.difference[d + DIFFERENCE_HU] = packed(red, green, blue);
    }
  }

  // Tables for a window (width and centre, HU) and the overlay's opacity (0 to 1).
  prepare(width, centre, opacity) {
    const wanted = `${width} ${centre} ${opacity}`;
    if (wanted === this.known) return;
    this.known = wanted;
    const low = centre - width / 2;
    for (let n = 0; n < 65536; n++) {
      const grey = Math.max(0, Math.min(255, Math.round((255 * (n + LOWEST + 0.5 - low)) / width)));
      this.grey[n] = packed(grey, grey, grey);
      const [red, green, blue] = EMPHYSEMA.map((colour) => Math.round((1 - opacity) * grey + opacity * colour));
      this.red[n] = packed(red, green, blue);
    }
  }
}

// Walks the voxels of a plane: axial slice k, or coronal row j with the head on top.
function plane(voxels, kind, index) {
  const { slices, rows, columns, perSlice } = voxels;
  if (kind === "axial") return { width: columns, height: rows, start: (r) => index * perSlice + r * columns, slice: () => index };
  return {
    width: columns,
    height: slices,
    start: (r) => (slices - 1 - r) * perSlice + index * columns,
    slice: (r) => slices - 1 - r,
  };
}

// Paint a volume's plane with its own emphysema; threshold null leaves it out.
export function paintVolume(pixels, voxels, number, kind, index, threshold, colours) {
  const volume = voxels.volumes[number];
  const { width, height, start, slice } = plane(voxels, kind, index);
  const { perSlice, bytesPerSlice, lungs } = voxels;
  const { grey, red } = colours;
  for (let r = 0, to = 0; r < height; r++) {
    const k = slice(r);
    const from = start(r);
    if (!volume || !volume.have[k]) {
      pixels.fill(0xff000000, to, to + width);
      to += width;
      continue;
    }
    const hu = volume.hu;
    if (threshold === null || lungs === null) {
      for (let c = 0; c < width; c++) pixels[to++] = grey[hu[from + c] + 32768];
      continue;
    }
    const inSlice = from - k * perSlice;
    const bits = k * bytesPerSlice;
    for (let c = 0; c < width; c++) {
      const value = hu[from + c];
      const bit = inSlice + c;
      const marked = value < threshold && lungs[bits + (bit >> 3)] & (128 >> (bit & 7));
      pixels[to++] = marked ? red[value + 32768] : grey[value + 32768];
    }
  }
}

// Paint synthetic minus original.
export function paintDifference(pixels, voxels, kind, index, colours) {
  const [original, synthetic] = voxels.volumes;
  const { width, height, start, slice } = plane(voxels, kind, index);
  for (let r = 0, to = 0; r < height; r++) {
    const from = start(r);
    const k = slice(r);
    if (!synthetic || !original.have[k] || !synthetic.have[k]) {
      pixels.fill(0xff000000, to, to + width);
      to += width;
      continue;
    }
    for (let c = 0; c < width; c++) {
      const d = synthetic.hu[from + c] - original.hu[from + c];
      pixels[to++] = colours.difference[Math.max(-DIFFERENCE_HU, Math.min(DIFFERENCE_HU, d)) + DIFFERENCE_HU];
    }
  }
}

export function sizeOf(voxels, kind) {
  return kind === "axial"
    ? { width: voxels.columns, height: voxels.rows, mmX: voxels.dx, mmY: voxels.dy }
    : { width: voxels.columns, height: voxels.slices, mmX: voxels.dx, mmY: voxels.dz };
}
