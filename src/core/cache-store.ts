import type { MaybePromise } from "./util.ts";

/**
 * Where answers are kept. Keys are hashes and values are texts; both are opaque to the store. It may forget anything at
 * any time, and a call that fails costs a miss, never a request.
 */
export interface CacheStore {
  get(key: string): MaybePromise<string | undefined>;
  set(key: string, value: string, ttlMs: number): MaybePromise<void>;
  /** Sets where nothing stands, else changes nothing and answers what stands there. One atomic step. */
  add(key: string, value: string, ttlMs: number): MaybePromise<string | undefined>;
  /** Replaces `expected`, or deletes it where `value` is undefined. False where something else stands. One atomic step. */
  swap(key: string, expected: string, value: string | undefined, ttlMs: number): MaybePromise<boolean>;
  close?(): MaybePromise<void>;
}

/** One question of the past. */
export interface VectorEntry {
  /** Only questions of the same partition are ever compared: tenant, model and everything but the question itself. */
  partition: string;
  /** Key of its answer in the {@link CacheStore}. The same id replaces. */
  id: string;
  /** Of length 1. */
  vector: Float32Array;
  question: string;
}

export interface VectorMatch {
  id: string;
  question: string;
  /** Cosine, from -1 to 1. */
  similarity: number;
}

/** Finds the nearest question of a partition. May forget anything at any time; a call that fails costs a miss. */
export interface VectorIndex {
  add(entry: VectorEntry, ttlMs: number): MaybePromise<void>;
  /** The nearest one, if it is at least as similar as `atLeast`. @param vector of length 1 */
  search(partition: string, vector: Float32Array, atLeast: number): MaybePromise<VectorMatch | undefined>;
  remove(id: string): MaybePromise<void>;
  close?(): MaybePromise<void>;
}
