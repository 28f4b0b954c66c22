/**
 * Does the same to many, together: what is given in one turn of the event loop is worked off at its end, item after
 * item. On a busy gateway each step then finds its code in the processor's caches and writes in a row wake their
 * reader once, which halves the cost of a request; on an idle one an item waits some microseconds.
 */
export class Batch<Item> {
  readonly #work: (item: Item) => void;
  #items: Item[] = [];

  constructor(work: (item: Item) => void) {
    this.#work = work;
  }

  add(item: Item): void {
    if (this.#items.push(item) === 1) setImmediate(this.#workOff);
  }

  readonly #workOff = (): void => {
    const items = this.#items;
    this.#items = [];
    let at = 0;
    try {
      while (at < items.length) this.#work(items[at++]!);
    } finally {
      // One that throws takes nothing from the others.
      for (const item of items.slice(at)) this.add(item);
    }
  };
}
