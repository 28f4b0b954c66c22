/** Something that falls due. Both fields belong to the queue while the item is in it. */
export interface Due {
  /** Epoch ms. Change it only while the item is out of the queue. */
  due: number;
  /** Position in the queue, −1 when outside. */
  slot: number;
}

/** A binary heap, soonest first, that can also take out an item from its middle. */
export class DueQueue<T extends Due> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The soonest item, which stays in the queue. */
  peek(): T | undefined {
    return this.#items[0];
  }

  add(item: T): void {
    this.#items.push(item);
    this.#up(item, this.#items.length - 1);
  }

  remove(item: T): void {
    const slot = item.slot;
    const last = this.#items.pop()!;
    item.slot = -1;
    if (last === item) return;
    this.#up(last, slot);
    this.#down(last, last.slot);
  }

  #up(item: T, from: number): void {
    let slot = from;
    while (slot > 0) {
      const parentSlot = (slot - 1) >> 1;
      const parent = this.#items[parentSlot]!;
      if (parent.due <= item.due) break;
      this.#put(parent, slot);
      slot = parentSlot;
    }
    this.#put(item, slot);
  }

  #down(item: T, from: number): void {
    let slot = from;
    for (;;) {
      let childSlot = 2 * slot + 1;
      if (childSlot >= this.#items.length) break;
      const right = this.#items[childSlot + 1];
      if (right && right.due < this.#items[childSlot]!.due) childSlot++;
      const child = this.#items[childSlot]!;
      if (child.due >= item.due) break;
      this.#put(child, slot);
      slot = childSlot;
    }
    this.#put(item, slot);
  }

  #put(item: T, slot: number): void {
    this.#items[slot] = item;
    item.slot = slot;
  }
}

/** Something that waits in a line. Both links belong to the line while the item is in it. */
export interface InLine<T> {
  before: T | undefined;
  after: T | undefined;
}

/** A line of things that all wait equally long: who comes first is due first, and anyone can leave it. */
export class DueLine<T extends InLine<T>> {
  first: T | undefined;
  size = 0;
  #last: T | undefined;

  add(item: T): void {
    item.before = this.#last;
    if (this.#last) this.#last.after = item;
    else this.first = item;
    this.#last = item;
    this.size++;
  }

  remove(item: T): void {
    const { before, after } = item;
    if (before) before.after = after;
    else this.first = after;
    if (after) after.before = before;
    else this.#last = before;
    item.before = undefined;
    item.after = undefined;
    this.size--;
  }
}
