import type { CallerContext, Frame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { OpaquePart, Signature } from "../../core/request.ts";
import { encodeSignature } from "../../core/thinking-envelope.ts";
import type { Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { encodeCitations } from "./citations.ts";
import { errorBody } from "./errors.ts";
import { ID } from "./id.ts";
import { answerToolId, encodeStop, encodeUsage, isForeign, messageHead } from "./response.ts";

type Finish = Extract<StreamEvent, { type: "finish" }>;

export function streamEncoder(context: CallerContext): StreamEncoder {
  let out: Frame[] | undefined;
  let started = false;
  let ended = false;
  /** Of the open block, or of the next one. */
  let index = 0;
  let open: "text" | "refusal" | "thinking" | "tool-call" | undefined;
  let hasArguments = false;
  /** The open call's arguments are free text: told as `{ input }`. */
  let custom = false;
  /** Of the text at hand: citations quote it. */
  let said = "";
  /** Thinking that the caller does not want to read. */
  let hidden = "";
  /** Foreign signatures without thinking: told before the next block, and not as the last ones. */
  let held: Signature[] = [];
  let refused = "";
  let called = false;
  let usage: Usage | undefined;
  let finish: Finish | undefined;

  function put(frame: Frame): void {
    if (out) out.push(frame);
    else out = [frame];
  }

  function send(type: string, members: JsonObject): void {
    put({ event: type, data: { type, ...members } });
  }

  function start(): void {
    if (started) return;
    started = true;
    const counts = { ...encodeUsage(usage, context), output_tokens: 1 };
    const nothing = { content: [], stop_reason: null, stop_sequence: null, stop_details: null };
    send("message_start", { message: { ...messageHead(context), ...nothing, usage: counts } });
    send("ping", {});
  }

  function begin(kind: typeof open, content_block: JsonObject): void {
    close();
    tellHeld();
    open = kind;
    send("content_block_start", { index, content_block });
  }

  function add(type: string, members: JsonObject): void {
    send("content_block_delta", { index, delta: { type, ...members } });
  }

  /** A delta of text. Streams consist of them, so they are written at once and not as objects. */
  function say(type: string, field: string, text: string): void {
    const delta = `{"type":"${type}","${field}":${JSON.stringify(text)}}`;
    put({ event: "content_block_delta", data: `{"type":"content_block_delta","index":${index},"delta":${delta}}` });
  }

  function close(last?: Extract<StreamEvent, { type: "thinking-end" | "text-end" }>): void {
    if (!open) return;
    if (open === "thinking") {
      const signature = last?.type === "thinking-end" ? last.signature : undefined;
      add("signature_delta", { signature: encodeSignature(signature, hidden) });
      hidden = "";
    } else if (open === "tool-call" && custom) {
      add("input_json_delta", { partial_json: '"}' });
    } else if (open === "tool-call" && !hasArguments) {
      // So that what the caller puts together can be parsed.
      add("input_json_delta", { partial_json: "{}" });
    } else if (last?.type === "text-end") {
      for (const citation of encodeCitations(said, last.citations) ?? []) add("citations_delta", { citation });
    }
    open = undefined;
    send("content_block_stop", { index: index++ });
  }

  function whole(content_block: JsonObject, ...deltas: [type: string, members: JsonObject][]): void {
    close();
    tellHeld();
    send("content_block_start", { index, content_block });
    for (const [type, members] of deltas) add(type, members);
    send("content_block_stop", { index: index++ });
  }

  function tellHeld(): void {
    const signatures = held;
    held = [];
    for (const each of signatures) {
      const signature = encodeSignature(each);
      whole({ type: "thinking", thinking: "", signature: "" }, ["signature_delta", { signature }]);
    }
  }

  function opaque({ dialect, kind, value }: OpaquePart): void {
    if (dialect !== ID) return;
    if (kind === "compaction") {
      const { type: _, ...content } = value;
      whole({ type: kind, content: null }, ["compaction_delta", content]);
    } else if (kind.endsWith("_tool_use") && isObject(value.input)) {
      whole({ ...value, input: {} }, ["input_json_delta", { partial_json: JSON.stringify(value.input) }]);
    } else whole(value);
  }

  function write(event: StreamEvent): void {
    switch (event.type) {
      case "text-start":
        if (open === "text") close();
        said = "";
        break;
      case "text-delta":
        if (event.text === "") break;
        said += event.text;
        if (open !== "text") begin("text", { type: "text", text: "" });
        say("text_delta", "text", event.text);
        break;
      case "text-end":
        if (open === "text") close(event);
        break;
      case "thinking-start":
        close();
        break;
      case "thinking-delta":
        if (event.text === "") break;
        if (open !== "thinking") begin("thinking", { type: "thinking", thinking: "", signature: "" });
        if (context.showThinking) say("thinking_delta", "thinking", event.text);
        else hidden += event.text;
        break;
      case "thinking-end":
        if (open === "thinking") close(event);
        else if (event.signature && isForeign(event.signature)) held.push(event.signature);
        else {
          begin("thinking", { type: "thinking", thinking: "", signature: "" });
          close(event);
        }
        break;
      case "redacted-thinking":
        whole({ type: "redacted_thinking", data: event.data });
        break;
      case "tool-call-start": {
        const id = answerToolId(event.id, index, context);
        begin("tool-call", { type: "tool_use", id, name: event.name, input: {} });
        called = true;
        hasArguments = event.custom ?? false;
        custom = event.custom ?? false;
        if (custom) add("input_json_delta", { partial_json: '{"input":"' });
        break;
      }
      case "tool-call-delta":
        if (open !== "tool-call" || event.arguments === "") break;
        hasArguments = true;
        say(
          "input_json_delta",
          "partial_json",
          custom ? JSON.stringify(event.arguments).slice(1, -1) : event.arguments,
        );
        break;
      case "tool-call-end":
        if (open === "tool-call") close();
        break;
      case "refusal-delta":
        if (event.text === "") break;
        if (open !== "refusal") begin("refusal", { type: "text", text: "" });
        refused += event.text;
        say("text_delta", "text", event.text);
        break;
      case "opaque":
        opaque(event.part);
        break;
      case "finish":
        finish = event;
        break;
    }
  }

  function complete(): void {
    start();
    close();
    // Clients take the last block for the answer.
    held = index === 0 ? held.slice(0, 1) : [];
    tellHeld();
    const { reason, stopSequence } = finish ?? { reason: "stop" };
    const delta = encodeStop({ reason, stopSequence, called, refused });
    send("message_delta", { delta, usage: encodeUsage(usage, context) });
    send("message_stop", {});
    ended = true;
  }

  function take(): Frame[] {
    const frames = out ?? [];
    out = undefined;
    return frames;
  }

  function error(failure: GatewayError): Frame[] {
    if (ended) return [];
    ended = true;
    return [{ event: "error", data: errorBody(failure) }];
  }

  return {
    encode(event) {
      // Callers of this dialect get one answer.
      if (ended || ("choice" in event && event.choice)) return [];
      if (event.type === "error") return error(event.error);
      if (event.type === "usage") {
        usage = event.usage;
        if (finish) complete();
        return take();
      }
      start();
      write(event);
      return take();
    },
    end() {
      if (!ended) complete();
      return take();
    },
    error,
  };
}
