import { bodyText } from "../core/call-body.ts";
import type { ByteSink, Transport, UpstreamCall } from "../core/provider.ts";
import { openaiChat } from "../dialects/openai-chat/index.ts";
import { defineProvider } from "./define.ts";

/**
 * Answers without a network or a model: deterministic, labelled as simulated, with streaming, thinking and tools, so
 * that a newcomer sees the whole pipeline at once. A request that offers tools and mentions one by name gets a call.
 */
export const simulated = defineProvider({
  type: "simulated",
  capabilities: [{ match: /^/, documentURLs: false, fileIds: false }],
  baseURL: "http://simulated.invalid",
  dialect: openaiChat,
  price: "free",
  models: ["demo"],
  jurisdiction: "local",
  region: "local",
  // Answers are made from the fitted request, as a real upstream's would be.
  passThrough: false,
  transport: () => simulate,
});

interface ChatBody {
  model?: string;
  stream?: boolean;
  max_tokens?: number;
  max_completion_tokens?: number;
  reasoning_effort?: string;
  messages?: { role: string; content?: unknown }[];
  tools?: { function?: { name?: string; parameters?: { properties?: Record<string, { type?: string }> } } }[];
}

const simulate: Transport = async (call: UpstreamCall) => {
  const body = JSON.parse(bodyText(call.body ?? "{}")) as ChatBody;
  const answer = compose(body);
  const payload = body.stream ? streamOf(answer) : [JSON.stringify(whole(answer))];
  return {
    status: 200,
    headers: { "content-type": body.stream ? "text/event-stream" : "application/json" },
    body: source(payload, body.stream ? 15 : 0, call),
  };
};

interface Simulated {
  model: string;
  thinking?: string;
  text: string;
  tool?: { name: string; arguments: string };
  finish: string;
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

function compose(body: ChatBody): Simulated {
  const messages = body.messages ?? [];
  const last = messages.at(-1);
  const said = promptOf(messages.findLast((message) => message.role === "user")?.content).trim();
  const tool =
    last?.role === "tool"
      ? undefined
      : body.tools?.find(({ function: f }) => f?.name && said.includes(f.name))?.function;
  const quoted = said.length > 120 ? `${said.slice(0, 120)}…` : said;
  let text =
    last?.role === "tool"
      ? `[simulated] The tool answered: ${textOf(last.content).slice(0, 200)}`
      : `[simulated] You said: "${quoted}". No model was asked: set MISTRAL_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY, or start llama-server, for real answers.`;
  if (tool) text = "";
  const thinking =
    body.reasoning_effort && body.reasoning_effort !== "none" ? "[simulated] Let me think about that." : undefined;
  const words = Math.ceil((text.length + (thinking?.length ?? 0)) / 4) + (tool ? 12 : 0);
  const most = body.max_completion_tokens ?? body.max_tokens ?? Number.POSITIVE_INFINITY;
  const cut = words > most;
  if (cut) text = text.slice(0, most * 4);
  const prompt = Math.ceil(JSON.stringify(messages).length / 4);
  const completion = Math.min(words, most);
  return {
    model: body.model ?? "demo",
    ...(thinking && { thinking }),
    text,
    ...(tool && {
      tool: { name: tool.name!, arguments: JSON.stringify(sampleArguments(tool.parameters?.properties)) },
    }),
    finish: cut ? "length" : tool ? "tool_calls" : "stop",
    usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
  };
}

/** The last text of a turn that is not a client's own reminder. */
function promptOf(content: unknown): string {
  if (!Array.isArray(content)) return textOf(content);
  const texts = content.map((part: { text?: string }) => part.text ?? "").filter((text) => text !== "");
  return texts.findLast((text) => !text.trimStart().startsWith("<system")) ?? texts.at(-1) ?? "";
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map((part: { text?: string }) => part.text ?? "").join("\n") : "";
}

const SAMPLES: Record<string, unknown> = {
  string: "example",
  number: 1,
  integer: 1,
  boolean: true,
  array: [],
  object: {},
};

function sampleArguments(properties: Record<string, { type?: string }> = {}): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).map(([name, { type }]) => [name, SAMPLES[type ?? "string"] ?? "example"]),
  );
}

const head = ({ model }: Simulated, object: string) => ({ id: "chatcmpl-simulated", object, created: 0, model });

function whole(answer: Simulated) {
  const { thinking, text, tool, finish, usage } = answer;
  return {
    ...head(answer, "chat.completion"),
    choices: [
      {
        index: 0,
        finish_reason: finish,
        message: {
          role: "assistant",
          content: text || null,
          ...(thinking && { reasoning_content: thinking }),
          ...(tool && { tool_calls: [{ id: "call_simulated", type: "function", function: tool }] }),
        },
      },
    ],
    usage,
  };
}

function streamOf(answer: Simulated): string[] {
  const chunk = (delta: object, finish: string | null = null) => ({
    ...head(answer, "chat.completion.chunk"),
    choices: [{ index: 0, delta, finish_reason: finish }],
  });
  const pieces = (text: string) => text.match(/\S+\s*|\s+/g) ?? [];
  const chunks: object[] = [chunk({ role: "assistant", content: "" })];
  for (const piece of pieces(answer.thinking ?? "")) chunks.push(chunk({ reasoning_content: piece }));
  for (const piece of pieces(answer.text)) chunks.push(chunk({ content: piece }));
  if (answer.tool)
    chunks.push(chunk({ tool_calls: [{ index: 0, id: "call_simulated", type: "function", function: answer.tool }] }));
  chunks.push(chunk({}, answer.finish), { ...head(answer, "chat.completion.chunk"), choices: [], usage: answer.usage });
  return [...chunks.map((each) => `data: ${JSON.stringify(each)}\n\n`), "data: [DONE]\n\n"];
}

/** Delivers the pieces one by one, as a network would. */
function source(pieces: readonly string[], delayMs: number, call: UpstreamCall) {
  let at = 0;
  let sink: ByteSink | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const step = () => {
    if (stopped || !sink) return;
    if (at === pieces.length) {
      stopped = true;
      return sink.end();
    }
    sink.data(Buffer.from(pieces[at++]!));
    timer = setTimeout(step, delayMs);
  };
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
  };
  call.onAbort?.((reason) => {
    if (stopped) return;
    stop();
    sink?.error(reason);
  });
  return {
    start: (given: ByteSink) => {
      sink = given;
      if (delayMs > 0) return step();
      for (; at < pieces.length; ) sink.data(Buffer.from(pieces[at++]!));
      stopped = true;
      sink.end();
    },
    pause: () => clearTimeout(timer),
    resume: () => {
      clearTimeout(timer);
      if (sink && !stopped && delayMs > 0) timer = setTimeout(step, delayMs);
    },
    cancel: stop,
  };
}
