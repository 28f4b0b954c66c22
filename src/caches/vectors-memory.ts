import { LRUCache } from "lru-cache";
import type { VectorEntry, VectorIndex, VectorMatch } from "../core/cache-store.ts";
import type { MaybePromise } from "../core/util.ts";

export type * from "../core/cache-store.ts";

export interface MemoryVectorsOptions {
  /** Most questions that are kept; the longest unused goes first. 1,536 numbers are 6 KB. @default 10_000 */
  maxEntries?: number;
  /** Clock, epoch ms; for tests. @default Date.now */
  now?: () => number;
}

/** Vectors of one allocation. */
const SLAB = 1_024;
/** Additions between two clearings of what has expired. */
const PURGE_EVERY = 1_024;
/** Numbers after which a comparison looks whether it can still succeed. */
const BLOCK = 128;
/** Vectors compared before others may use the thread: a few milliseconds. */
const SLICE = 2_048;

/**
 * Exact cosine search in this process, one pass over the partition. Its cost grows with the partition; see docs/cache.md
 * for figures.
 */
export function memoryVectors({ maxEntries = 10_000, now }: MemoryVectorsOptions = {}): VectorIndex {
  const partitions = new Map<string, Set<number>>();
  let space: Space | undefined;
  const free: number[] = [];
  let used = 0;
  let added = 0;

  interface Kept {
    entry: Omit<VectorEntry, "vector">;
    slot: number;
  }
  const kept = new LRUCache<string, Kept>({
    max: maxEntries,
    ...(now && { perf: { now }, ttlResolution: 0 }),
    disposeAfter({ entry, slot }) {
      const slots = partitions.get(entry.partition);
      slots?.delete(slot);
      if (slots?.size === 0) partitions.delete(entry.partition);
      owners[slot] = undefined;
      free.push(slot);
    },
  });
  /** Ids by slot. */
  const owners: (string | undefined)[] = [];

  function add({ vector, ...entry }: VectorEntry, ttl: number): void {
    // Another length is another model: nothing that is kept can be compared with it.
    if (space && space.length !== vector.length) clear();
    space ??= new Space(vector.length);
    kept.delete(entry.id);
    // It looks at every entry; a search passes over those that have expired anyway.
    if (++added % PURGE_EVERY === 0) kept.purgeStale();
    if (kept.size === maxEntries) kept.pop();
    const slot = free.pop() ?? used++;
    space.write(slot, vector);
    owners[slot] = entry.id;
    const slots = partitions.get(entry.partition) ?? new Set();
    partitions.set(entry.partition, slots.add(slot));
    kept.set(entry.id, { entry, slot }, { ttl });
  }

  function search(partition: string, vector: Float32Array, atLeast: number): MaybePromise<VectorMatch | undefined> {
    const slots = partitions.get(partition);
    if (!slots || !space || vector.length !== space.length) return undefined;
    const query = space.query(vector);
    let best: { id: string; similarity: number } | undefined;
    const look = (some: Iterable<number>) => {
      for (const slot of some) {
        const similarity = query(slot, best?.similarity ?? atLeast);
        const id = owners[slot];
        if (similarity === undefined || id === undefined || !kept.has(id)) continue;
        best = { id, similarity };
      }
    };
    const found = () => {
      const owner = best && kept.get(best.id);
      return owner && { ...best!, question: owner.entry.question };
    };
    if (slots.size <= SLICE) {
      look(slots);
      return found();
    }
    return (async () => {
      const all = [...slots];
      for (let from = 0; from < all.length; from += SLICE) {
        if (from > 0) await new Promise((resolve) => setImmediate(resolve));
        // What was added or forgotten meanwhile may be missed, never mistaken.
        look(all.slice(from, from + SLICE).filter((slot) => slots.has(slot)));
      }
      return found();
    })();
  }

  function clear(): void {
    kept.clear();
    partitions.clear();
    free.length = 0;
    owners.length = 0;
    used = 0;
    space = undefined;
  }

  return {
    add,
    search,
    remove(id) {
      kept.delete(id);
    },
    close: clear,
  };
}

/** Vectors of one length side by side, each with the length of what is left of it after every block. */
class Space {
  readonly length: number;
  readonly #blocks: number;
  readonly #slabs: { vectors: Float32Array; rests: Float32Array }[] = [];

  constructor(length: number) {
    this.length = length;
    this.#blocks = Math.ceil(length / BLOCK);
  }

  write(slot: number, vector: Float32Array): void {
    const index = Math.floor(slot / SLAB);
    this.#slabs[index] ??= {
      vectors: new Float32Array(SLAB * this.length),
      rests: new Float32Array(SLAB * this.#blocks),
    };
    const { vectors, rests } = this.#slabs[index];
    vectors.set(vector, (slot % SLAB) * this.length);
    rests.set(restsOf(vector), (slot % SLAB) * this.#blocks);
  }

  /** Compares with one slot: the cosine, or undefined as soon as it cannot reach `atLeast`. */
  query(vector: Float32Array): (slot: number, atLeast: number) => number | undefined {
    const { length } = this;
    const blocks = this.#blocks;
    const rest = restsOf(vector);
    return (slot, atLeast) => {
      const { vectors, rests } = this.#slabs[Math.floor(slot / SLAB)]!;
      const at = (slot % SLAB) * length;
      const restAt = (slot % SLAB) * blocks;
      let sum = 0;
      for (let block = 0, i = 0; block < blocks; block++) {
        for (const end = Math.min(i + BLOCK, length); i < end; i++) sum += vector[i]! * vectors[at + i]!;
        // Cauchy–Schwarz: what is left adds at most the product of the lengths. The margin is for rounding.
        if (sum + rest[block]! * rests[restAt + block]! + 1e-5 < atLeast) return undefined;
      }
      return sum >= atLeast ? sum : undefined;
    };
  }
}

/** After each block, the Euclidean length of the numbers behind it. */
function restsOf(vector: Float32Array): Float32Array {
  const rests = new Float32Array(Math.ceil(vector.length / BLOCK));
  let sum = 0;
  for (let block = rests.length - 1, i = vector.length - 1; block >= 0; block--) {
    rests[block] = Math.sqrt(sum);
    for (; i >= block * BLOCK; i--) sum += vector[i]! ** 2;
  }
  return rests;
}
