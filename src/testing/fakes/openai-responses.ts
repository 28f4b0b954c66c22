import { HEX, idFor, pieces, type Turn } from "./behaviour.ts";
import { openAIFamily } from "./openai-models.ts";
import { ENCRYPTED, type ResponsesMemory } from "./openai-responses-history.ts";
import { itemsOf, type ResponsesBody } from "./openai-responses-schema.ts";
import type { Frame, FrameStream } from "./sse.ts";

/** What OpenAI's Responses answers: wire.md §3.2 and §3.3, as recorded [FX-P, FX-V]. */

/** Whether the model thinks at all when asked like this. */
export function responsesThinks(asked: ResponsesBody): boolean {
  const effort = effortOf(asked);
  return effort !== null && effort !== "none";
}

/** What is asked for, or the model does by itself; null when it is no reasoning model. */
function effortOf({ model, reasoning }: ResponsesBody): string | null {
  const { efforts, effort = "medium" } = openAIFamily(model) ?? {};
  return efforts ? (reasoning?.effort ?? effort) : null;
}

/** The whole Response; `store` unless told not to. */
export function wholeResponse(turn: Turn, asked: ResponsesBody, memory: ResponsesMemory): object {
  const output = outputOf(turn, asked);
  remember(turn, asked, output, memory);
  return finished(turn, asked, output);
}

/** The same as events. */
export function responseStream(turn: Turn, asked: ResponsesBody, memory: ResponsesMemory): FrameStream {
  const output = outputOf(turn, asked);
  remember(turn, asked, output, memory);
  let sequence = 0;
  const frame = ({ type, ...rest }: Event): Frame => ({
    event: type,
    data: { type, sequence_number: sequence++, ...rest },
  });
  const started = { ...responseOf(turn, asked), status: "in_progress" };
  const isObfuscated = asked.stream_options?.include_obfuscation !== false;
  const open = ["response.created", "response.in_progress"].map((type) => frame({ type, response: started }));
  const content = output.flatMap((item, index) => itemEvents(item, index, isObfuscated).map(frame));
  const last = finished(turn, asked, output);
  return { open, content, close: [frame({ type: `response.${last.status}`, response: last })] };
}

/** An error in the middle: nested, other than the SDK's types say [wire.md §0.9]. */
export function responseErrorFrame(error: object, sequence_number: number): Frame {
  return { event: "error", data: { type: "error", sequence_number, error } };
}

type Item = ReturnType<typeof outputOf>[number];
type Event = { type: string; [field: string]: unknown };

/** Reasoning, message, calls, each where there is something to tell. */
function outputOf(turn: Turn, asked: ResponsesBody) {
  const id = (kind: string, index = 0) => `${kind}_${idFor(`${kind} ${turn.serial} ${index}`, 50, HEX)}`;
  const status = turn.finishReason === "length" || turn.finishReason === "content_filter" ? "incomplete" : "completed";
  const rs = id("rs");
  const reasoning = {
    id: rs,
    type: "reasoning" as const,
    // Without `summary` the model thinks in secret.
    summary: asked.reasoning?.summary ? [{ type: "summary_text" as const, text: turn.thinking }] : [],
    ...(asked.include?.includes("reasoning.encrypted_content") && { encrypted_content: ENCRYPTED.issue(rs) }),
  };
  const part =
    turn.finishReason === "refusal"
      ? { type: "refusal" as const, refusal: turn.text }
      : { type: "output_text" as const, annotations: [] as never[], logprobs: [] as never[], text: turn.text };
  const message = {
    id: id("msg"),
    type: "message" as const,
    status: status as "completed" | "incomplete",
    content: [part],
    role: "assistant" as const,
  };
  const calls = turn.toolCalls.map((call, index) => ({
    id: id("fc", index),
    type: "function_call" as const,
    status: "completed" as const,
    arguments: JSON.stringify(call.arguments),
    call_id: call.id ?? `call_${idFor(`responses call ${turn.serial} ${index}`, 24)}`,
    name: call.name,
  }));
  return [...(turn.thinking === "" ? [] : [reasoning]), ...(turn.text === "" ? [] : [message]), ...calls];
}

function remember(turn: Turn, asked: ResponsesBody, output: readonly Item[], memory: ResponsesMemory): void {
  if (asked.store === false) return;
  const earlier = asked.previous_response_id ? memory.context(asked.previous_response_id) : undefined;
  memory.store(responseId(turn), [...(earlier ?? []), ...itemsOf(asked), ...output], output);
}

function itemEvents(item: Item, output_index: number, isObfuscated: boolean): Event[] {
  const at = { item_id: item.id, output_index };
  const delta = (text: string, rest: object) => ({
    delta: text,
    ...rest,
    ...(isObfuscated && { obfuscation: idFor(`${item.id} ${text}`, 16 - (text.length % 16)) }),
  });
  const done = { type: "response.output_item.done", output_index, item };
  const added = (start: object) => ({ type: "response.output_item.added", output_index, item: { ...item, ...start } });

  if (item.type === "reasoning") {
    // What is encrypted at the start is not yet all [FX-P streaming_usage]: another text, and here no good one.
    const early = item.encrypted_content && { encrypted_content: `${item.encrypted_content.slice(0, 24)}AAAA` };
    return [added({ summary: [], ...early }), ...item.summary.flatMap(summaryEvents), done];
  }
  if (item.type === "function_call") {
    const half = Math.ceil(item.arguments.length / 2);
    const type = "response.function_call_arguments";
    return [
      added({ status: "in_progress", arguments: "" }),
      ...[item.arguments.slice(0, half), item.arguments.slice(half)]
        .filter((text) => text !== "")
        .map((text) => ({ type: `${type}.delta`, ...at, ...delta(text, {}) })),
      { type: `${type}.done`, ...at, arguments: item.arguments },
      done,
    ];
  }
  const parts = item.content.flatMap((part, content_index): Event[] => {
    const here = { ...at, content_index };
    const [kind, text, empty, rest] =
      part.type === "refusal"
        ? (["refusal", part.refusal, { refusal: "" }, {}] as const)
        : (["output_text", part.text, { text: "" }, { logprobs: [] }] as const);
    const whole = part.type === "refusal" ? { refusal: text } : { text };
    return [
      { type: "response.content_part.added", ...here, part: { ...part, ...empty } },
      ...pieces(text).map((piece) => ({ type: `response.${kind}.delta`, ...here, ...delta(piece, rest) })),
      { type: `response.${kind}.done`, ...here, ...whole, ...rest },
      { type: "response.content_part.done", ...here, part },
    ];
  });
  return [added({ status: "in_progress", content: [] }), ...parts, done];

  function summaryEvents(part: { text: string }, summary_index: number): Event[] {
    const here = { ...at, summary_index };
    const type = "response.reasoning_summary";
    return [
      { type: `${type}_part.added`, ...here, part: { ...part, text: "" } },
      ...pieces(part.text).map((piece) => ({ type: `${type}_text.delta`, ...here, ...delta(piece, {}) })),
      { type: `${type}_text.done`, ...here, text: part.text },
      { type: `${type}_part.done`, ...here, part },
    ];
  }
}

const responseId = (turn: Turn) => `resp_${idFor(`resp ${turn.serial}`, 50, HEX)}`;

const INCOMPLETE: Record<string, string> = { length: "max_output_tokens", content_filter: "content_filter" };

function finished(turn: Turn, asked: ResponsesBody, output: readonly Item[]) {
  const reason = INCOMPLETE[turn.finishReason];
  const hasFailed = turn.finishReason === "error";
  const { prompt, completion, cached, reasoning } = turn.usage;
  return {
    ...responseOf(turn, asked),
    status: hasFailed ? "failed" : reason ? "incomplete" : "completed",
    completed_at: hasFailed || reason ? null : turn.created,
    error: hasFailed ? { code: "server_error", message: "The model produced an error." } : null,
    incomplete_details: reason ? { reason } : null,
    output,
    usage: {
      input_tokens: prompt,
      input_tokens_details: { cached_tokens: cached, cache_write_tokens: 0 },
      output_tokens: completion,
      output_tokens_details: { reasoning_tokens: reasoning },
      total_tokens: prompt + completion,
    },
  };
}

/** A Response that has said nothing yet. */
function responseOf(turn: Turn, asked: ResponsesBody) {
  return {
    id: responseId(turn),
    object: "response",
    created_at: turn.created,
    status: "in_progress",
    background: asked.background ?? false,
    completed_at: null as number | null,
    error: null as object | null,
    frequency_penalty: 0,
    incomplete_details: null as object | null,
    instructions: asked.instructions ?? null,
    max_output_tokens: asked.max_output_tokens ?? null,
    max_tool_calls: asked.max_tool_calls ?? null,
    model: turn.model,
    output: [] as readonly object[],
    parallel_tool_calls: asked.parallel_tool_calls ?? true,
    presence_penalty: 0,
    previous_response_id: asked.previous_response_id ?? null,
    prompt_cache_key: asked.prompt_cache_key ?? null,
    prompt_cache_retention: asked.prompt_cache_retention ?? null,
    reasoning: {
      effort: effortOf(asked),
      summary: asked.reasoning?.summary ?? null,
    },
    safety_identifier: asked.safety_identifier ?? null,
    service_tier: "default",
    store: asked.store ?? true,
    temperature: asked.temperature ?? 1,
    text: { format: asked.text?.format ?? { type: "text" }, verbosity: asked.text?.verbosity ?? "medium" },
    tool_choice: asked.tool_choice ?? "auto",
    tools: (asked.tools ?? []).map((tool) =>
      tool.type === "function" ? { ...tool, strict: tool.strict ?? true } : tool,
    ),
    top_logprobs: asked.top_logprobs ?? 0,
    top_p: asked.top_p ?? 1,
    truncation: asked.truncation ?? "disabled",
    usage: null as object | null,
    user: asked.user ?? null,
    metadata: asked.metadata ?? {},
  };
}
