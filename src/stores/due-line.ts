/** Something that waits in a line. The links belong to the line while the item is in it. */
export interface InLine<T> {
  before: T | undefined;
  after: T | undefined;
}

/** A line in which everything waits equally long: first come, first gone, and out of its middle at no cost. */
export class DueLine<T extends InLine<T>> {
  first: T | undefined;
  #last: T | undefined;
  size = 0;

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
    // A link that is left would keep what came after in memory.
    item.before = undefined;
    item.after = undefined;
    this.size--;
  }
}
