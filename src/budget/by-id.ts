/** Something with an id. The other two fields belong to the collection while it is in there. */
export interface Identified<T> {
  id: string;
  hash: number;
  /** The next one with the same hash. */
  namesake: T | undefined;
}

/**
 * Things by their ids, for ids that come once and go. A `Map` would do, but V8 makes every string that becomes a key of
 * one unique in the whole process, which costs more than all the rest of a reservation (Node 26: 0.6 µs).
 */
export class ById<T extends Identified<T>> {
  /** The first one with each hash. */
  readonly #byHash = new Map<number, T>();
  size = 0;

  /** In any order. What is added or deleted meanwhile may come or not. */
  *[Symbol.iterator](): Generator<T> {
    for (const first of this.#byHash.values()) {
      for (let item: T | undefined = first; item !== undefined; ) {
        const next: T | undefined = item.namesake;
        yield item;
        item = next;
      }
    }
  }

  get(id: string): T | undefined {
    let item = this.#byHash.get(hashOf(id));
    while (item !== undefined && item.id !== id) item = item.namesake;
    return item;
  }

  /** Its id must be new. */
  add(item: T): void {
    item.hash = hashOf(item.id);
    item.namesake = this.#byHash.get(item.hash);
    this.#byHash.set(item.hash, item);
    this.size++;
  }

  delete(item: T): void {
    let before = this.#byHash.get(item.hash);
    if (before !== item) {
      while (before !== undefined && before.namesake !== item) before = before.namesake;
      if (before !== undefined) before.namesake = item.namesake;
    } else if (item.namesake === undefined) this.#byHash.delete(item.hash);
    else this.#byHash.set(item.hash, item.namesake);
    item.namesake = undefined;
    this.size--;
  }
}

/** 30 bits, which V8 keeps without an object of their own. */
function hashOf(id: string): number {
  let hash = 0;
  for (let i = 0; i < id.length; i++) hash = (Math.imul(hash, 31) + id.charCodeAt(i)) | 0;
  return hash & 0x3fffffff;
}
