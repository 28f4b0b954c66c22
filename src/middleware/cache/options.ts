import { z } from "zod";
import type { CacheStore, VectorIndex } from "../../core/cache-store.ts";
import type { MaybePromise } from "../../core/util.ts";

const positive = z.int().positive();

const semanticFileOptions = z.strictObject({
  embed: z
    .string()
    .regex(/^[^/]+\/.+$/, "expected provider/model")
    .describe("Who turns questions into vectors: `provider/model`."),
  threshold: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe("Least cosine similarity. It depends on the embedding model: try it on your own questions."),
  maxEntries: positive.default(10_000).describe("Questions that are kept in memory."),
  timeoutMs: positive.default(2_000).describe("Longest wait for a vector; then the request goes on without."),
});

/** What a configuration file may say of the cache; the store stands beside it as an address. */
export const cacheFileOptions = z.strictObject({
  ttlMs: positive.default(3_600_000).describe("How long an answer is given again."),
  maxBytes: positive.default(64 * 1024 * 1024).describe("Of the store in memory."),
  maxEntryBytes: positive.default(1024 * 1024).describe("Longer answers are not kept."),
  scope: z
    .enum(["key", "team", "gateway"])
    .default("key")
    .describe("Who shares answers: the same key and user, a team, or everybody."),
  temperature: z
    .union([z.number().min(0).max(2), z.literal("any")])
    .default(0)
    .describe("Highest temperature whose answers are kept; who asks for none counts as above. `any`: all."),
  toolCalls: z.boolean().default(false).describe("Whether answers that call tools are kept."),
  vary: z
    .strictObject({
      headers: z.array(z.string().toLowerCase()).default([]).describe("Request headers that tell answers apart."),
      tags: z.boolean().default(false).describe("Whether the caller's tags tell answers apart."),
    })
    .prefault({}),
  version: z.string().default("").describe("Change it to forget everything, also in a shared store."),
  coalesce: z.boolean().default(true).describe("Whether identical requests in flight share one upstream call."),
  storeTimeoutMs: positive.default(250).describe("A store that takes longer costs a miss."),
  idempotency: z
    .union([
      z.literal(false),
      z.strictObject({
        ttlMs: positive.default(86_400_000).describe("How long the first answer is repeated."),
        lockMs: positive
          .min(100)
          .default(30_000)
          .describe("After this a crashed process's request may be tried again."),
      }),
    ])
    .prefault({})
    .describe("What `idempotency-key` does; false ignores it."),
  semantic: semanticFileOptions.optional(),
});

const verify = z.custom<(question: string, cachedQuestion: string) => MaybePromise<boolean>>(
  (given) => typeof given === "function",
  "a function that returns whether both questions have the same answer",
);

export const cacheOptions = cacheFileOptions.extend({
  store: z
    .custom<CacheStore>(
      (store) => typeof (store as CacheStore | undefined)?.swap === "function",
      'a CacheStore, for example redisCache({ url: "redis://localhost:6379" })',
    )
    .optional(),
  semantic: semanticFileOptions
    .extend({
      index: z
        .custom<VectorIndex>(
          (index) => typeof (index as VectorIndex | undefined)?.search === "function",
          "a VectorIndex, for example pgvectorIndex({ pool })",
        )
        .optional(),
      verify: verify.optional(),
    })
    .optional(),
});

export type CacheOptions = z.input<typeof cacheOptions>;
export type CheckedCacheOptions = z.output<typeof cacheOptions>;
export type SemanticOptions = NonNullable<CheckedCacheOptions["semantic"]>;
export type IdempotencyOptions = Exclude<CheckedCacheOptions["idempotency"], false>;
