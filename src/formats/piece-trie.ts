// A set of texts, searched by what a text begins with: which of them lie at a place.
// Nodes are numbers and edges one hash table over (node, UTF-16 unit), so 100,000 texts cost no objects.

const NONE = -1;

export class PieceTrie {
  /** Three numbers an edge: node, unit, child; node is −1 where the slot is free. */
  #edges = new Int32Array(3 * 1024).fill(NONE);
  #slots = 1024;
  #values = new Int32Array(1024).fill(NONE);
  #nodes = 1;
  /** The child of the root by its unit, 0 where there is none: asked at every place of a text. */
  readonly #firsts = new Int32Array(0x10000);

  get isEmpty(): boolean {
    return this.#nodes === 1;
  }

  /** `value` is 0 or more. A text added twice keeps the first value. */
  add(text: string, value: number): void {
    let node = 0;
    for (let i = 0; i < text.length; i++) node = this.#makeChild(node, text.charCodeAt(i));
    if (this.#values[node] === NONE) this.#values[node] = value;
  }

  /** The node after `unit`, or −1. The root is node 0. */
  child(node: number, unit: number): number {
    const edges = this.#edges;
    for (let slot = this.#slotOf(node, unit); ; slot = (slot + 1) & (this.#slots - 1)) {
      const from = edges[3 * slot] as number;
      if (from === node && edges[3 * slot + 1] === unit) return edges[3 * slot + 2] as number;
      if (from === NONE) return NONE;
    }
  }

  /** The value of the text that ends at `node`, or −1. */
  valueOf(node: number): number {
    return this.#values[node] as number;
  }

  /** Calls back for each text that begins at `start`, from the shortest, with where it ends. */
  matchAll(text: string, start: number, found: (value: number, end: number) => void): void {
    if (start >= text.length) return;
    let node = this.#firsts[text.charCodeAt(start)] as number;
    for (let i = start + 1; node > 0; i++) {
      const value = this.#values[node] as number;
      if (value !== NONE) found(value, i);
      node = i < text.length ? this.child(node, text.charCodeAt(i)) : NONE;
    }
  }

  /** The longest text that begins at `start`. */
  matchLongest(text: string, start: number): { value: number; end: number } | undefined {
    let longest: { value: number; end: number } | undefined;
    this.matchAll(text, start, (value, end) => {
      longest = { value, end };
    });
    return longest;
  }

  /** One past the end of the longest text at `start`; `start` itself where there is none. */
  longestEnd(text: string, start: number): number {
    let longest = start;
    let node = this.#firsts[text.charCodeAt(start)] as number;
    for (let i = start + 1; node > 0; i++) {
      if (this.#values[node] !== NONE) longest = i;
      node = i < text.length ? this.child(node, text.charCodeAt(i)) : NONE;
    }
    return longest;
  }

  #makeChild(node: number, unit: number): number {
    const known = this.child(node, unit);
    if (known !== NONE) return known;
    if (this.#nodes * 2 > this.#slots) this.#grow();
    const child = this.#nodes++;
    this.#insert(node, unit, child);
    if (node === 0) this.#firsts[unit] = child;
    return child;
  }

  #insert(node: number, unit: number, child: number): void {
    let slot = this.#slotOf(node, unit);
    while (this.#edges[3 * slot] !== NONE) slot = (slot + 1) & (this.#slots - 1);
    this.#edges[3 * slot] = node;
    this.#edges[3 * slot + 1] = unit;
    this.#edges[3 * slot + 2] = child;
  }

  #grow(): void {
    const old = this.#edges;
    this.#slots *= 2;
    this.#edges = new Int32Array(3 * this.#slots).fill(NONE);
    for (let i = 0; i < old.length; i += 3) {
      if (old[i] === NONE) continue;
      this.#insert(old[i] as number, old[i + 1] as number, old[i + 2] as number);
    }
    const values = new Int32Array(this.#slots).fill(NONE);
    values.set(this.#values);
    this.#values = values;
  }

  #slotOf(node: number, unit: number): number {
    const hash = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit + 1, 0x85ebca6b);
    return (hash ^ (hash >>> 15)) & (this.#slots - 1);
  }
}
