/** Byte ranges of the body, noted before anything of them is written: the events or links of a span, exemplars of a point. */
export class RangeList {
  count = 0;
  starts = new Uint32Array(64);
  ends = new Uint32Array(64);

  clear(): void {
    this.count = 0;
  }

  add(start: number, end: number): void {
    if (this.count === this.starts.length) this.#grow();
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
  }

  #grow(): void {
    const starts = new Uint32Array(2 * this.count);
    const ends = new Uint32Array(2 * this.count);
    starts.set(this.starts);
    ends.set(this.ends);
    this.starts = starts;
    this.ends = ends;
  }
}
