import { fit as fitTo } from "../../src/capabilities/fit/index.ts";
import type { Dialect } from "../../src/core/dialect.ts";
import type { Capabilities, ParameterName, Provider } from "../../src/core/provider.ts";
import type { Change, ChatRequest } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";

/** What goes out to a model, and where each wire says what in it. */

export interface Case {
  capabilities: Capabilities;
  provider: Provider;
  dialect: Dialect;
  model: string;
}

export interface Sent {
  body: JsonObject;
  json: string;
  changes: readonly Change[];
}

export const PLAIN: ChatRequest = {
  model: "asked",
  system: [],
  messages: [{ role: "user", content: [{ type: "text", text: "Hello" }] }],
  tools: [],
  stream: false,
};
export const TOOL = { type: "function" as const, name: "look", parameters: { type: "object", properties: {} } };

export function send({ capabilities, provider, dialect, model }: Case, asked: Partial<ChatRequest>): Sent {
  const target = { capabilities, dialect: dialect.id, provider: provider.type, model };
  const { request, changes } = fitTo({ ...PLAIN, ...asked }, target);
  const json = JSON.stringify(dialect.encodeRequest(request, model));
  return { body: JSON.parse(json), json, changes };
}

/** Where each wire says it: one of them, if at all. */
export const PATHS: Record<ParameterName, readonly string[]> = {
  temperature: ["temperature", "generationConfig.temperature"],
  topP: ["top_p", "generationConfig.topP"],
  topK: ["top_k", "generationConfig.topK"],
  seed: ["seed", "random_seed", "generationConfig.seed"],
  stop: ["stop", "stop_sequences", "generationConfig.stopSequences"],
  presencePenalty: ["presence_penalty", "generationConfig.presencePenalty"],
  frequencyPenalty: ["frequency_penalty", "generationConfig.frequencyPenalty"],
  logitBias: ["logit_bias"],
  n: ["n", "generationConfig.candidateCount"],
  logprobs: ["logprobs", "top_logprobs", "include", "generationConfig.responseLogprobs"],
  parallelToolCalls: ["parallel_tool_calls", "tool_choice.disable_parallel_tool_use"],
  serviceTier: ["service_tier", "serviceTier"],
  userId: ["user", "safety_identifier", "metadata.user_id"],
  sessionId: ["prompt_cache_key"],
  metadata: ["metadata"],
};
export const MAX_TOKENS = [
  "max_tokens",
  "max_completion_tokens",
  "max_output_tokens",
  "generationConfig.maxOutputTokens",
];

export function valueAt(body: JsonObject, paths: readonly string[]): unknown {
  const values = paths.map((path) =>
    path.split(".").reduce<unknown>((at, key) => (at as JsonObject | undefined)?.[key], body),
  );
  return values.find((value) => value !== undefined);
}

/** What a body says of reasoning: `high`, `none`, `adaptive high`, `budget 1024 low`, or `-`. */
export function reasoningIn(body: JsonObject): string {
  const thinking = body.thinking as JsonObject | undefined;
  const config = valueAt(body, ["generationConfig.thinkingConfig"]) as JsonObject | undefined;
  const effort = valueAt(body, ["reasoning_effort", "reasoning.effort", "output_config.effort"]);
  const budget = thinking?.budget_tokens ?? config?.thinkingBudget;
  const type = thinking?.type === "enabled" ? undefined : thinking?.type;
  const level = (config?.thinkingLevel as string | undefined)?.toLowerCase();
  const said = [type, budget === undefined ? undefined : `budget ${budget}`, effort, level];
  return said.filter((word) => word !== undefined).join(" ") || "-";
}
