import { LRUCache } from "lru-cache";
import type { CacheStore } from "../core/cache-store.ts";

export type * from "../core/cache-store.ts";

export interface MemoryCacheOptions {
  /** Most memory of keys and values together, bytes; the longest unused goes first. @default 64 MiB */
  maxBytes?: number;
  /** Clock, epoch ms; for tests. @default Date.now */
  now?: () => number;
}

/** What an entry costs beside its text. */
const ENTRY_BYTES = 200;

/** Answers in this process, forgotten at its end. */
export function memoryCache({ maxBytes = 64 * 1024 * 1024, now }: MemoryCacheOptions = {}): CacheStore {
  const kept = new LRUCache<string, string>({
    maxSize: maxBytes,
    // Two bytes a character at most.
    sizeCalculation: (value, key) => 2 * (value.length + key.length) + ENTRY_BYTES,
    ...(now && { perf: { now }, ttlResolution: 0 }),
  });
  return {
    get: (key) => kept.get(key),
    set(key, value, ttl) {
      kept.set(key, value, { ttl });
    },
    add(key, value, ttl) {
      const found = kept.get(key);
      if (found === undefined) kept.set(key, value, { ttl });
      return found;
    },
    swap(key, expected, value, ttl) {
      if (kept.get(key) !== expected) return false;
      if (value === undefined) kept.delete(key);
      else kept.set(key, value, { ttl });
      return true;
    },
    close() {
      kept.clear();
    },
  };
}
