import { z } from "zod";
import { limitOptions } from "../../budget/limits.ts";
import type { BudgetStore } from "../../core/budget-store.ts";
import type { Exchange } from "../../core/exchange.ts";

/** What a configuration file may say of budgets; the store stands beside it as an address. */
export const budgetFileOptions = z.strictObject({
  limits: z.array(limitOptions),
  estimate: z
    .enum(["typical", "bound"])
    .default("typical")
    .describe("How input is counted before the call: near the truth, or never below it (text only)."),
  defaultMaxTokens: z.int().positive().default(4_096).describe("Bound on the output where caller and model name none."),
  minGrant: z
    .int()
    .positive()
    .default(1_024)
    .describe("Fewest output tokens worth asking for; less is a spent budget."),
  maxShare: z
    .number()
    .gt(0)
    .max(1)
    .default(0.25)
    .describe("Largest part of what remains that one request may reserve, so that others can run beside it."),
  onDisconnect: z
    .enum(["abort", "drain"])
    .default("abort")
    .describe(
      "When the caller leaves: stop the upstream and settle what was seen, or read to the end for the true usage.",
    ),
  maxDrains: z.int().positive().default(16).describe("Answers read to the end at the same time; more are stopped."),
  processes: z
    .int()
    .positive()
    .default(1)
    .describe("Processes that share the store: `onStoreError: local` divides by it."),
  breakdown: z.boolean().default(true).describe("Also count what each model used, for self-service."),
  status: z
    .union([z.literal(402), z.literal(429)])
    .default(402)
    .describe("HTTP status of a spent budget."),
  onExpire: z
    .enum(["release", "charge"])
    .default("release")
    .describe("Reservations of a crashed process: given back, or charged in full, which keeps the cap exact."),
  storeTimeoutMs: z.int().positive().default(250),
  holdTtlMs: z.int().positive().default(60_000).describe("After this a crashed process's reservations come back."),
});

export const budgetOptions = budgetFileOptions.extend({
  store: z.custom<BudgetStore>(
    (store) => typeof (store as BudgetStore | undefined)?.reserve === "function",
    'a BudgetStore, for example sqliteStore("turnpike.db")',
  ),
  estimate: z
    .union([
      z.enum(["typical", "bound"]),
      z.custom<(exchange: Exchange) => number>((f) => typeof f === "function", "a function that returns tokens"),
    ])
    .default("typical"),
  onWarning: z.custom<(warning: BudgetWarning) => void>((f) => typeof f === "function", "a function").optional(),
});

export type BudgetOptions = z.input<typeof budgetOptions>;

/** A limit has passed one of its `warnAt` shares; once per counter, window and share, whatever the number of processes. */
export interface BudgetWarning {
  limit: string;
  /** The share that was passed: 0.8. */
  share: number;
  unit: string;
  used: number;
  amount: number;
  resetsAt: string | null;
}
