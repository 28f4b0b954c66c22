/** Short hand-written traffic, in the forms that recordings come in. */
const payload = (value: unknown) => JSON.stringify(value);
const lines = (payloads: readonly unknown[]) => payloads.map(payload).join("\n");

const tool = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

export const messagesStream = [
  {
    type: "message_start",
    message: {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "m",
      content: [],
      usage: { input_tokens: 5, cache_read_input_tokens: 3, output_tokens: 1 },
    },
  },
  { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } },
  { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "Où est-ce ? " } },
  { type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: "c2ln" } },
  { type: "content_block_stop", index: 0 },
  { type: "content_block_start", index: 1, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "Voilà 🎉" } },
  { type: "content_block_stop", index: 1 },
  {
    type: "content_block_start",
    index: 2,
    content_block: { type: "tool_use", id: "toolu_9", name: "weather", input: {} },
  },
  { type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: '{"city":' } },
  { type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: '"Paris"}' } },
  { type: "content_block_stop", index: 2 },
  { type: "message_delta", delta: { stop_reason: "tool_use", stop_sequence: null }, usage: { output_tokens: 12 } },
  { type: "message_stop" },
];

const chunk = (delta: unknown, finish_reason: string | null = null, more = {}) => ({
  id: "c1",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, delta, finish_reason }],
  ...more,
});

export const chatStream: object[] = [
  chunk({ role: "assistant", content: "" }),
  chunk({ reasoning_content: "Ich überlege." }),
  chunk({ content: "Moment – " }),
  chunk({ tool_calls: [{ index: 0, id: "call_9", type: "function", function: { name: "weather", arguments: "" } }] }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '{"city":"Köln"}' } }] }),
  chunk({}, "tool_calls"),
  { ...chunk({}), choices: [], usage: { prompt_tokens: 8, completion_tokens: 9, total_tokens: 17 } },
];

const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "m",
  content: [
    { type: "text", text: "Hello" },
    { type: "tool_use", id: "toolu_9", name: "weather", input: { city: "Oslo" } },
  ],
  stop_reason: "tool_use",
  stop_sequence: null,
  usage: { input_tokens: 5, cache_creation_input_tokens: 2, cache_read_input_tokens: 3, output_tokens: 12 },
};

const completion = {
  id: "c1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: null, refusal: "No." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 8, completion_tokens: 9, total_tokens: 17, prompt_tokens_details: { cached_tokens: 4 } },
};

const response = {
  id: "resp_1",
  object: "response",
  created_at: 1,
  status: "completed",
  model: "m",
  output: [
    { id: "rs_1", type: "reasoning", summary: [{ type: "summary_text", text: "A sum." }], encrypted_content: "ZW5j" },
    {
      id: "msg_1",
      type: "message",
      status: "completed",
      role: "assistant",
      content: [{ type: "output_text", text: "4", annotations: [] }],
    },
    {
      id: "fc_1",
      type: "function_call",
      status: "completed",
      call_id: "call_9",
      name: "weather",
      arguments: '{"city":"Rome"}',
    },
  ],
  usage: {
    input_tokens: 8,
    input_tokens_details: { cached_tokens: 2 },
    output_tokens: 9,
    output_tokens_details: { reasoning_tokens: 3 },
    total_tokens: 17,
  },
};

const gemini = (parts: unknown[], more = {}) => ({
  candidates: [{ content: { role: "model", parts }, index: 0, ...more }],
  usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 5, thoughtsTokenCount: 6, totalTokenCount: 15 },
  modelVersion: "m",
});

/** Its two answers stand in one recording, one after the other. */
const responsesStream = ["One.", "Two."].flatMap((text, i) => {
  const at = { item_id: `msg_${i}`, output_index: 0, content_index: 0 };
  const part = { type: "output_text", text, annotations: [] };
  const item = { id: `msg_${i}`, type: "message", status: "completed", role: "assistant", content: [part] };
  const head = { id: `resp_${i}`, object: "response", created_at: 1, model: "m", status: "in_progress", output: [] };
  return [
    { type: "response.created", response: head },
    { type: "response.output_item.added", output_index: 0, item: { ...item, status: "in_progress", content: [] } },
    { type: "response.content_part.added", ...at, part: { ...part, text: "" } },
    { type: "response.output_text.delta", ...at, delta: text },
    { type: "response.output_text.done", ...at, text },
    { type: "response.content_part.done", ...at, part },
    { type: "response.output_item.done", output_index: 0, item },
    {
      type: "response.incomplete",
      response: {
        ...head,
        status: "incomplete",
        incomplete_details: { reason: "max_output_tokens" },
        output: [item],
        usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
      },
    },
  ].map((event, sequence_number) => ({ ...event, sequence_number }));
});

const messagesRequest = {
  model: "m",
  max_tokens: 2000,
  system: "Be brief.",
  messages: [
    { role: "user", content: "Weather in Oslo?" },
    { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Oslo" } }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: "snow" }] },
  ],
  tools: [{ name: "weather", description: "Weather", input_schema: tool }],
};

const chatRequest = {
  model: "m",
  stream: true,
  temperature: 0.5,
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "Wetter in Köln?" }] },
  ],
  tools: [{ type: "function", function: { name: "weather", parameters: tool } }],
};

const geminiRequest = {
  contents: [{ role: "user", parts: [{ text: "Is it so?" }] }],
  systemInstruction: { parts: [{ text: "Be brief." }] },
  tools: [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: tool }] }],
  generationConfig: { temperature: 0.5, maxOutputTokens: 100 },
};

const exchange = (path: string, request_body: unknown, status: number, response_body: unknown) => ({
  source: "hand-written",
  method: "POST",
  path,
  request_body,
  status,
  content_type: typeof response_body === "string" ? "text/event-stream" : "application/json",
  response_body,
});

const sse = (payloads: readonly { type?: string }[]) =>
  payloads.map((each) => `${each.type ? `event: ${each.type}\n` : ""}data: ${payload(each)}\n\n`).join("");

/** Everything here must pass. */
export const answers: Record<string, unknown> = {
  "one/stream.chunks.txt": lines(messagesStream),
  "one/whole.json": message,
  "one/exchange.json": exchange("/v1/messages?beta=true", messagesRequest, 200, message),
  "one/streamed.json": exchange("/v1/messages", { ...messagesRequest, stream: true }, 200, sse(messagesStream)),
  "one/refused.json": exchange("/v1/messages", messagesRequest, 400, {
    type: "error",
    error: { type: "invalid_request_error", message: "max_tokens: must be at least 1" },
  }),
  "one/count.json": exchange("/v1/messages/count_tokens", { model: "m", messages: messagesRequest.messages }, 200, {
    input_tokens: 14,
  }),
  "one/spliced.chunks.txt": lines([...messagesStream.slice(0, 3), messagesStream[0], ...messagesStream.slice(3)]),
  "one/overloaded.chunks.txt": lines([
    ...messagesStream.slice(0, 8),
    { type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
  ]),
  "one/cut.chunks.txt": lines(messagesStream.slice(0, 9)),
  "two/stream.chunks.txt": lines(chatStream),
  "two/several.json": {
    ...completion,
    choices: ["one", "two"].map((content, index) => ({
      index,
      message: { role: "assistant", content },
      finish_reason: "stop",
    })),
  },
  "two/raw.sse": `: hello\n\n${sse(chatStream.map(({ ...each }) => each))}data: [DONE]\n\n`.replaceAll("\n", "\r\n"),
  "two/whole.json": completion,
  "two/exchange.json": exchange("/v1/chat/completions", chatRequest, 200, sse(chatStream)),
  "two/busy.json": exchange("/v1/chat/completions", chatRequest, 429, {
    error: { message: "Slow down", type: "requests", param: null, code: "rate_limit_exceeded" },
  }),
  "two/error.json": { error: { message: "No such field", type: "invalid_request_error", param: "x", code: null } },
  "three/whole.json": response,
  "three/twice.chunks.txt": lines(responsesStream),
  "three/failed.json": {
    ...response,
    status: "failed",
    output: [],
    error: { code: "server_error", message: "Broken." },
  },
  "three/broken.chunks.txt": lines([
    ...responsesStream.slice(0, 4),
    {
      type: "error",
      sequence_number: 4,
      error: { type: "server_error", code: "x", message: "It broke.", param: null },
    },
  ]),
  "four/whole.json": gemini([{ text: "Five." }, { functionCall: { name: "weather", args: { city: "Lima" } } }], {
    finishReason: "STOP",
  }),
  "four/blocked.json": {
    promptFeedback: { blockReason: "SAFETY" },
    usageMetadata: { promptTokenCount: 4, totalTokenCount: 4 },
  },
  "four/pieces.chunks.txt": lines([
    gemini([{ functionCall: { name: "weather", willContinue: true } }]),
    gemini([
      { functionCall: { partialArgs: [{ jsonPath: "$.places[0].city", stringValue: "Li" }], willContinue: true } },
    ]),
    gemini([
      { functionCall: { partialArgs: [{ jsonPath: "$.places[0].city", stringValue: "ma" }], willContinue: true } },
    ]),
    gemini([{ functionCall: {} }], { finishReason: "STOP" }),
  ]),
  "four/listed.json": exchange(
    "/v1beta/models/m:generateContent",
    geminiRequest,
    200,
    gemini([{ text: "Yes." }], { finishReason: "STOP" }),
  ),
  "four/gone.json": exchange("/v1beta/models/m:generateContent", geminiRequest, 404, {
    error: { code: 404, message: "models/m is not found", status: "NOT_FOUND" },
  }),
  "five/vectors.json": exchange("/v1/embeddings", { model: "m", input: ["a", "b"] }, 200, {
    object: "list",
    data: [0.5, 0.25].map((value, index) => ({ object: "embedding", index, embedding: [value, 1] })),
    model: "m",
    usage: { prompt_tokens: 2, total_tokens: 2 },
  }),
  "four/stream.chunks.txt": lines([
    gemini([{ text: "Let me think.", thought: true }]),
    gemini([{ text: "Sechs " }]),
    gemini([{ text: "🎲." }], { finishReason: "MAX_TOKENS" }),
  ]),
};

/** Nothing here is replayed. */
export const foreign: Record<string, unknown> = {
  "a/converse.chunks.txt": lines([
    { messageStart: { role: "assistant" } },
    { contentBlockDelta: { delta: { text: "a" } } },
  ]),
  "a/cohere.json": { id: "1", message: { role: "assistant", content: [] }, finish_reason: "COMPLETE" },
  "a/sound.json": { text: "hello", duration: 1.5 },
  "a/images.json": { created: 1, data: [{ b64_json: "aGk=" }] },
  "a/ranks.json": { results: [{ index: 0, relevance_score: 0.5 }] },
  "a/live.chunks.txt": lines([{ setupComplete: {} }]),
  "a/card.json": { id: "x", name: "y" },
  "a/torn.json": "{nonsense",
  "a/notes.md": "# Notes",
};
