// Voxels in the browser: whole HU and lung bits, asked for in blocks, those near the middle first.

const BLOCK = 16;

let made = 0;

export class Voxels {
  // layout: of the scan; count: how many volumes there are; onBlock: called after each block.
  constructor(layout, onBlock) {
    [this.slices, this.rows, this.columns] = layout.shape;
    [this.dz, this.dy, this.dx] = layout.spacing_mm;
    this.firstZ = layout.first_slice_z_mm;
    this.perSlice = this.rows * this.columns;
    this.bytesPerSlice = Math.ceil(this.perSlice / 8);
    this.volumes = [];
    this.lungs = null;
    this.onBlock = onBlock;
    this.stopped = false;
    this.number = ++made;
    this.blocks = 0; // received so far
  }

  get loaded() {
    return this.volumes.length > 0 && this.volumes.every((volume) => volume.left === 0);
  }

  stop() {
    this.stopped = true;
  }

  async loadVolume(number, middle) {
    const volume = { hu: new Int16Array(this.slices * this.perSlice).fill(-32768), have: new Uint8Array(this.slices), left: this.slices };
    this.volumes[number] = volume;
    await this.inBlocks(middle, `/api/hu/${number}/`, (first, last, buffer) => {
      volume.hu.set(new Int16Array(buffer), first * this.perSlice);
      volume.have.fill(1, first, last);
      volume.left -= last - first;
    });
  }

  async loadLungs(middle) {
    const bits = new Uint8Array(this.slices * this.bytesPerSlice);
    this.lungs = bits;
    await this.inBlocks(middle, "/api/lungs/", (first, last, buffer) => bits.set(new Uint8Array(buffer), first * this.bytesPerSlice));
  }

  async inBlocks(middle, path, take) {
    const firsts = [];
    for (let first = 0; first < this.slices; first += BLOCK) firsts.push(first);
    firsts.sort((a, b) => Math.abs(a + BLOCK / 2 - middle) - Math.abs(b + BLOCK / 2 - middle));
    for (const first of firsts) {
      if (this.stopped) return;
      const last = Math.min(first + BLOCK, this.slices);
      const answer = await fetch(`${path}${first}-${last}`);
      if (!answer.ok || this.stopped) return;
      take(first, last, await answer.arrayBuffer());
      this.blocks += 1;
      this.onBlock();
    }
  }

  // HU of a voxel of a volume; null where it is not there (yet).
  value(number, k, j, i) {
    const volume = this.volumes[number];
    const inside = k >= 0 && j >= 0 && i >= 0 && k < this.slices && j < this.rows && i < this.columns;
    return volume && inside && volume.have[k] ? volume.hu[k * this.perSlice + j * this.columns + i] : null;
  }
}
