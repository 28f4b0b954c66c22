import { z } from "zod";
import type { Capabilities, CapabilityRow } from "../core/provider.ts";
import { EFFORTS } from "../core/request.ts";

const effort = z.enum(EFFORTS);
const range = z.strictObject({ min: z.number().optional(), max: z.number().optional() });
const accepted = z.union([z.boolean(), range, z.array(z.string())]);
const count = z.int().positive();

const reasoning = z.union([
  z.literal(false),
  z.strictObject({
    levels: z.array(effort).min(1).optional(),
    map: z.partialRecord(effort, z.enum([...EFFORTS, "off"])).optional(),
    off: z.enum(["none", "omit", "never"]),
    auto: z.boolean().optional(),
    budget: z.strictObject({ min: z.int().min(0), max: count }).optional(),
    default: effort.optional(),
  }),
]);

/** A fact about models, as a configuration file says it: `match` is a pattern in which `*` stands for anything. */
export const capabilityOverride = z
  .strictObject({
    match: z.string().min(1).describe("Model name at the provider; `*` stands for anything."),
    dialect: z.string().optional().describe("Only where the provider is asked in this dialect."),
    parameters: z
      .partialRecord(
        z.enum([
          ...["temperature", "topP", "topK", "seed", "stop", "presencePenalty", "frequencyPenalty", "logitBias"],
          ...["n", "logprobs", "parallelToolCalls", "serviceTier", "userId", "sessionId", "metadata"],
        ] as const),
        accepted,
      )
      .optional()
      .describe("false: not accepted; true: accepted; { min, max }: clamped; a list: the values of serviceTier."),
    sampling: z.enum(["always", "without-thinking", "when-off"]).optional(),
    otherParameters: z.boolean().optional(),
    reasoning: reasoning.optional().describe("Which efforts the model takes, and how thinking is turned off."),
    replayThinking: z.enum(["own", "any", "none"]).optional(),
    images: z.boolean().optional(),
    fileIds: z.boolean().optional(),
    documents: z.boolean().optional(),
    documentURLs: z.boolean().optional(),
    audio: z.boolean().optional(),
    tools: z.boolean().optional(),
    forcedToolChoice: z.union([z.boolean(), z.literal("not-with-thinking")]).optional(),
    outputFormats: z.array(z.enum(["json", "json-schema"])).optional(),
    outputFormatWithTools: z.boolean().optional(),
    jsonByName: z.boolean().optional(),
    hostedWithFunctions: z.boolean().optional(),
    thinkingLast: z.boolean().optional(),
    messageNames: z.boolean().optional(),
    documentNotes: z.array(z.enum(["title", "filename", "context"])).optional(),
    maxIdLength: count.optional(),
    customTools: z.boolean().optional(),
    webSearch: z.boolean().optional(),
    systemMessages: z.enum(["start", "after-user", "anywhere"]).optional(),
    firstMessage: z.enum(["user", "user-or-system", "any"]).optional(),
    userAfterTool: z.enum(["native", "bridge"]).optional(),
    cacheMarks: z.boolean().optional(),
    prefill: z.union([z.boolean(), z.literal("trimmed")]).optional(),
    maxStopSequences: z.int().min(0).optional(),
    maxOutputTokens: count.optional(),
    minOutputTokens: count.optional(),
    defaultMaxTokens: count.optional(),
    contextTokens: count.optional(),
    successor: z.string().optional().describe("The model that answers in its place."),
    retired: z.iso.date().optional(),
  })
  .describe("Facts about models that differ from the built-in ones; later rows win.");

export type CapabilityOverride = z.input<typeof capabilityOverride>;

const literally = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** Rows of a file as the table takes them. */
export function rowsOf(overrides: readonly CapabilityOverride[]): CapabilityRow[] {
  return overrides.map(({ match, ...facts }) => ({
    ...(facts as Capabilities),
    match: new RegExp(`^${match.split("*").map(literally).join(".*")}$`),
  }));
}
