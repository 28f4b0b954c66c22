import type { CallerContext } from "../../core/dialect.ts";
import type { FinishReason } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { encodeUsage } from "./usage.ts";

/** Fields of the request that an answer repeats, and what they are where the request says nothing [O-SDK Response]. */
const ECHOED = {
  instructions: null,
  max_output_tokens: null,
  max_tool_calls: null,
  metadata: {},
  parallel_tool_calls: true,
  prompt_cache_key: null,
  safety_identifier: null,
  service_tier: null,
  temperature: null,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: [],
  top_logprobs: 0,
  top_p: null,
  truncation: "disabled",
};

/** What an answer says of itself and of its request. Nothing can be fetched later: `store` is false. */
export function answerHead({ id, created, model, request }: CallerContext): JsonObject {
  const echo = Object.entries(ECHOED).map(([field, otherwise]) => [field, request?.member(field) ?? otherwise]);
  const reasoning = request?.member("reasoning");
  const user = request?.member("user") ?? undefined;
  return {
    id: `resp_${id}`,
    object: "response",
    created_at: created,
    status: "in_progress",
    background: false,
    error: null,
    incomplete_details: null,
    ...Object.fromEntries(echo),
    model,
    output: [],
    previous_response_id: null,
    reasoning: { effort: null, summary: null, ...(isObject(reasoning) && reasoning) },
    store: false,
    usage: null,
    ...(user !== undefined && { user }),
  };
}

/** What an answer says when it is over. */
export interface Ending {
  reason: FinishReason;
  /** A refusal was told in words. */
  refused: boolean;
  items: readonly JsonObject[];
  usage: Usage | undefined;
  logprobs: unknown;
}

export function answerEnd({ reason, refused, items, usage, logprobs }: Ending): JsonObject {
  const cut = isCut(reason) ? "max_output_tokens" : reason === "refusal" && !refused ? "content_filter" : undefined;
  return {
    status: cut === undefined ? "completed" : "incomplete",
    incomplete_details: cut === undefined ? null : { reason: cut },
    output: isObject(logprobs) && Array.isArray(logprobs.content) ? withLogprobs(items, logprobs.content) : [...items],
    usage: usage ? encodeUsage(usage) : null,
  };
}

export function isCut(reason: FinishReason): boolean {
  return reason === "length" || reason === "context-window";
}

/** They come for the answer as a whole: its last text carries them. */
function withLogprobs(items: readonly JsonObject[], logprobs: unknown[]): JsonObject[] {
  const last = items.findLast(({ type }) => type === "message");
  return items.map((item) => {
    if (item !== last) return item;
    const content = item.content as JsonObject[];
    const text = content.findLast(({ type }) => type === "output_text");
    return { ...item, content: content.map((part) => (part === text ? { ...part, logprobs } : part)) };
  });
}
