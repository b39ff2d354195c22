// Strings found at a place in a text: the added tokens there, or every piece of a vocabulary.

interface Node {
  value: number | undefined;
  next: Map<number, Node> | undefined;
}

/** Strings with numbers, looked up by their UTF-16 units. */
export class Trie {
  readonly #root: Node = { value: undefined, next: undefined };

  /** Adds `text` unless it is there already. */
  add(text: string, value: number): void {
    let node = this.#root;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      node.next ??= new Map();
      let child = node.next.get(unit);
      if (child === undefined) {
        child = { value: undefined, next: undefined };
        node.next.set(unit, child);
      }
      node = child;
    }
    node.value ??= value;
  }

  get isEmpty(): boolean {
    return this.#root.next === undefined;
  }

  /** Calls back for each string that begins at `start`, from the shortest, with where it ends. */
  matchAll(text: string, start: number, found: (value: number, end: number) => void): void {
    let node: Node | undefined = this.#root;
    for (let i = start; node?.next !== undefined && i < text.length;) {
      node = node.next.get(text.charCodeAt(i++));
      if (node?.value !== undefined) found(node.value, i);
    }
  }

  /** The longest string that begins at `start`. */
  matchLongest(text: string, start: number): { value: number; end: number } | undefined {
    let node = this.#root.next?.get(text.charCodeAt(start));
    let longest: { value: number; end: number } | undefined;
    for (let i = start + 1; node !== undefined; i++) {
      if (node.value !== undefined) longest = { value: node.value, end: i };
      node = i < text.length ? node.next?.get(text.charCodeAt(i)) : undefined;
    }
    return longest;
  }
}
