import type { Fake } from "turnpike/testing";
import type { Json } from "./support.ts";

/** What an upstream was asked, whatever its wire format calls it. */
export interface Seen {
  wire: Wire;
  model: string;
  /** Leading instructions. */
  system: string;
  /** What was said after them, in order, tool results included. */
  texts: string[];
  /** base64 */
  images: string[];
  /** base64 */
  documents: string[];
  tools: string[];
  choice?: "auto" | "required" | "none" | { tool: string };
  parallel?: boolean;
  calls: { id?: string; name: string; input: Json }[];
  results: string[];
  /** Thinking that was sent back, as it stands on the wire. */
  thinking: Json[];
  effort?: string | number;
  maxTokens?: number;
  stop?: string[];
  schema?: Json;
}

export type Wire = "chat" | "responses" | "messages" | "gemini";

/** The last thing that a model of this upstream was asked. */
export function seenBy(fake: Fake): Seen {
  const { path, body } = fake.requests.at(-1)!;
  const wire = wireOf(path);
  return clean({ wire, ...READ[wire](body as Json, path) });
}

function wireOf(path: string): Wire {
  if (path.startsWith("/v1beta/")) return "gemini";
  if (path.startsWith("/v1/responses")) return "responses";
  return path.startsWith("/v1/messages") ? "messages" : "chat";
}

const READ: Record<Wire, (body: Json, path: string) => Omit<Seen, "wire">> = {
  chat(body) {
    const { messages, tool_choice: choice } = body;
    const isSystem = ({ role }: Json) => role === "system" || role === "developer";
    const leading = messages.slice(
      0,
      messages.findIndex((message: Json) => !isSystem(message)),
    );
    const rest: Json[] = messages.slice(leading.length);
    const parts = rest.flatMap(({ content }) => listOf(content));
    return {
      model: body.model,
      system: leading.flatMap(({ content }: Json) => textsOf(listOf(content))).join("\n\n"),
      texts: textsOf(parts),
      images: parts.flatMap((part) => dataOf(part.image_url?.url ?? part.image_url)),
      documents: parts.flatMap((part) => dataOf(part.file?.file_data ?? part.document_url)),
      tools: (body.tools ?? []).map((tool: Json) => (tool.function ?? tool.custom).name),
      choice: choice?.function ? { tool: choice.function.name } : choice === "any" ? "required" : choice,
      parallel: body.parallel_tool_calls,
      calls: rest.flatMap(({ tool_calls = [] }) =>
        (tool_calls ?? []).map((call: Json) => ({ id: call.id, ...callOf(call.function) })),
      ),
      results: rest.filter(({ role }) => role === "tool").map(({ content }) => textsOf(listOf(content)).join("")),
      thinking: [
        ...parts.filter(({ type }) => type === "thinking"),
        ...rest.flatMap(({ reasoning_content: text }) => (text === undefined ? [] : [text])),
      ],
      effort: body.reasoning_effort,
      maxTokens: body.max_completion_tokens ?? body.max_tokens,
      stop: body.stop,
      schema: body.response_format?.json_schema?.schema,
    };
  },

  responses(body) {
    const items: Json[] = typeof body.input === "string" ? [{ content: body.input }] : body.input;
    const of = (type: string) => items.filter((item) => item.type === type);
    const parts = items.flatMap(({ content, output }) => listOf(content ?? output));
    const { tool_choice: choice } = body;
    return {
      model: body.model,
      system: body.instructions ?? "",
      texts: textsOf(parts),
      images: parts.flatMap((part) => dataOf(part.image_url)),
      documents: parts.flatMap((part) => dataOf(part.file_data)),
      tools: (body.tools ?? []).map((tool: Json) => tool.name ?? tool.type),
      choice: choice?.name ? { tool: choice.name } : choice,
      parallel: body.parallel_tool_calls,
      calls: of("function_call").map((call) => ({ id: call.call_id, ...callOf(call) })),
      results: of("function_call_output").map(({ output }) => textsOf(listOf(output)).join("")),
      thinking: of("reasoning"),
      effort: body.reasoning?.effort,
      maxTokens: body.max_output_tokens,
      schema: body.text?.format?.schema,
    };
  },

  messages(body) {
    const blocks: Json[] = body.messages.flatMap(({ content }: Json) => listOf(content));
    const all = blocks.flatMap((block) => (block.type === "tool_result" ? listOf(block.content) : [block]));
    const of = (type: string) => all.filter((block) => block.type === type);
    const { tool_choice: choice } = body;
    const CHOICES: Json = { any: "required", tool: { tool: choice?.name } };
    return {
      model: body.model,
      system: textsOf(listOf(body.system)).join("\n\n"),
      texts: textsOf(all),
      images: of("image").map(({ source }) => source.data),
      documents: of("document").map(({ source }) => source.data),
      tools: (body.tools ?? []).map(({ name }: Json) => name),
      choice: CHOICES[choice?.type] ?? choice?.type,
      parallel: choice?.disable_parallel_tool_use === undefined ? undefined : !choice.disable_parallel_tool_use,
      calls: of("tool_use").map(({ id, name, input }) => ({ id, name, input })),
      results: blocks
        .filter(({ type }) => type === "tool_result")
        .map(({ content }) => textsOf(listOf(content)).join("")),
      thinking: all.filter(({ type }) => type === "thinking" || type === "redacted_thinking"),
      effort: body.thinking?.type === "disabled" ? "none" : body.output_config?.effort,
      maxTokens: body.max_tokens,
      stop: body.stop_sequences,
      schema: body.output_config?.format?.schema,
    };
  },

  gemini(body, path) {
    const parts: Json[] = body.contents.flatMap(({ parts }: Json) => parts);
    const results = parts.flatMap((part) => part.functionResponse ?? []);
    const { mode, allowedFunctionNames: names } = body.toolConfig?.functionCallingConfig ?? {};
    const MODES: Json = { AUTO: "auto", NONE: "none", ANY: names ? { tool: names[0] } : "required" };
    const { thinkingConfig, ...config } = body.generationConfig ?? {};
    const data = [...parts, ...results.flatMap((result) => result.parts ?? [])].flatMap(
      (part) => part.inlineData ?? [],
    );
    const of = (type: RegExp) => data.filter(({ mimeType }) => type.test(mimeType)).map((each) => each.data);
    return {
      model: /models\/([^:]+):/.exec(path)![1]!,
      system: textsOf(body.systemInstruction?.parts ?? []).join("\n\n"),
      texts: [...textsOf(parts), ...results.map(({ response }) => JSON.stringify(response))],
      images: of(/^image/),
      documents: of(/pdf$/),
      tools: (body.tools ?? []).flatMap((tool: Json) => tool.functionDeclarations ?? []).map(({ name }: Json) => name),
      choice: MODES[mode],
      parallel: undefined,
      calls: parts
        .flatMap((part) => part.functionCall ?? [])
        .map(({ id, name, args }) => ({ id, name, input: args ?? {} })),
      results: results.map(({ response }) => response.output ?? response.error ?? JSON.stringify(response)),
      thinking: parts.flatMap((part) => part.thoughtSignature ?? []),
      effort: thinkingConfig?.thinkingLevel?.toLowerCase() ?? thinkingConfig?.thinkingBudget,
      maxTokens: config.maxOutputTokens,
      stop: config.stopSequences,
      schema: config.responseJsonSchema ?? config.responseSchema,
    };
  },
} as Record<Wire, (body: Json, path: string) => Omit<Seen, "wire">>;

const listOf = (content: Json): Json[] => (typeof content === "string" ? [{ text: content }] : (content ?? []));
const textsOf = (parts: Json[]): string[] => parts.flatMap(({ text }) => (typeof text === "string" ? [text] : []));
const dataOf = (url: unknown) => (typeof url === "string" ? (/^data:[^,]*,(.*)$/.exec(url)?.[1] ?? [url]) : []);
const callOf = ({ name, arguments: input }: Json) => ({ name, input: JSON.parse(input || "{}") });

function clean(seen: Json): Seen {
  return Object.fromEntries(Object.entries(seen).filter(([, value]) => value !== undefined)) as unknown as Seen;
}
