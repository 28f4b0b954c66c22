import type { CallerContext } from "../../core/dialect.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Citations, Signature } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { ID } from "./id.ts";
import { sealReasoning, sealRedacted } from "./thinking.ts";

/** Says one step of the answer: the type of an event and its members. */
export type Send = (type: string, members: JsonObject) => void;

/** The output items of an answer, put together from its events. */
export interface Output {
  /** Complete ones. */
  readonly items: readonly JsonObject[];
  readonly refused: boolean;
  write(event: StreamEvent): void;
  /** Completes what is open. @param status of a message at hand */
  close(status: "completed" | "incomplete"): void;
}

interface Message {
  kind: "message";
  id: string;
  content: JsonObject[];
  /** The part at hand. */
  part?: { kind: "text" | "refusal"; text: string } | undefined;
}

interface Reasoning {
  kind: "reasoning";
  id: string;
  shown: string;
  hidden: string;
  /** The caller knows the item, and its id. */
  announced: boolean;
}

interface Call {
  kind: "call";
  id: string;
  type: "function_call" | "custom_tool_call";
  /** Its field of arguments, and the events that tell of it. */
  field: "arguments" | "input";
  step: string;
  call_id: string;
  name: string;
  told: string;
}

/** @param send absent for a whole answer, of which nobody sees the steps */
export function outputOf(context: CallerContext, send?: Send): Output {
  const items: JsonObject[] = [];
  let open: Message | Reasoning | Call | undefined;
  let refused = false;

  const newId = (prefix: string) => `${prefix}_${context.id}_${items.length}`;
  const at = () => ({ item_id: open!.id, output_index: items.length });
  const add = (item: JsonObject) => send?.("response.output_item.added", { output_index: items.length, item });
  function done(item: JsonObject): void {
    open = undefined;
    send?.("response.output_item.done", { output_index: items.length, item });
    items.push(item);
  }

  function close(status: "completed" | "incomplete" = "completed"): void {
    if (open?.kind === "message") closeMessage(open, status);
    else if (open?.kind === "reasoning") closeReasoning(open);
    else if (open?.kind === "call") closeCall(open);
  }

  /** Texts and refusals in a row are parts of one message. */
  function partOf(kind: "text" | "refusal"): Message {
    if (open?.kind !== "message") {
      close();
      open = { kind: "message", id: newId("msg"), content: [] };
      add(messageItem(open, "in_progress"));
    }
    if (open.part?.kind !== kind) {
      closePart(open);
      open.part = { kind, text: "" };
      send?.("response.content_part.added", { ...at(), content_index: open.content.length, part: partItem(open.part) });
    }
    return open;
  }

  function addToPart(kind: "text" | "refusal", text: string): void {
    if (text === "") return;
    const message = partOf(kind);
    message.part!.text += text;
    const place = { ...at(), content_index: message.content.length, delta: text };
    if (kind === "refusal") send?.("response.refusal.delta", place);
    else send?.("response.output_text.delta", { ...place, logprobs: [] });
  }

  function closePart(message: Message, citations?: Citations): void {
    const { part } = message;
    if (!part) return;
    message.part = undefined;
    const place = { ...at(), content_index: message.content.length };
    const annotations = part.kind === "text" ? annotationsOf(citations, part.text) : [];
    for (const [annotation_index, annotation] of annotations.entries())
      send?.("response.output_text.annotation.added", { ...place, annotation_index, annotation });
    if (part.kind === "refusal") send?.("response.refusal.done", { ...place, refusal: part.text });
    else send?.("response.output_text.done", { ...place, text: part.text, logprobs: [] });
    const item = partItem(part, annotations);
    send?.("response.content_part.done", { ...place, part: item });
    message.content.push(item);
  }

  function closeMessage(message: Message, status: "completed" | "incomplete"): void {
    closePart(message);
    done(messageItem(message, status));
  }

  function addThinking(text: string): void {
    if (text === "") return;
    if (open?.kind !== "reasoning") openReasoning();
    const item = open as Reasoning;
    if (!context.showThinking) {
      item.hidden += text;
      return;
    }
    if (item.shown === "" && send) {
      item.announced = true;
      add({ type: "reasoning", id: item.id, summary: [] });
      send("response.reasoning_summary_part.added", { ...at(), summary_index: 0, part: summaryPart("") });
    }
    item.shown += text;
    send?.("response.reasoning_summary_text.delta", { ...at(), summary_index: 0, delta: text });
  }

  function openReasoning(): void {
    close();
    open = { kind: "reasoning", id: newId("rs"), shown: "", hidden: "", announced: false };
  }

  /** An item that nobody has seen yet can keep the upstream's own id, to which its encrypted content is bound. */
  function closeReasoning({ id, shown, hidden, announced }: Reasoning, signature?: Signature): void {
    const own = !announced && signature?.origin === ID ? signature.kind : undefined;
    const item = { type: "reasoning", id: own ?? id, summary: shown === "" ? [] : [summaryPart(shown)] };
    const encrypted_content = sealReasoning(signature, hidden, item.id);
    if (shown === "" && encrypted_content === undefined) {
      open = undefined;
      return;
    }
    if (!announced) add({ ...item, summary: [] });
    else {
      send?.("response.reasoning_summary_text.done", { ...at(), summary_index: 0, text: shown });
      send?.("response.reasoning_summary_part.done", { ...at(), summary_index: 0, part: summaryPart(shown) });
    }
    done({ ...item, ...(encrypted_content !== undefined && { encrypted_content }) });
  }

  function whole(item: JsonObject): void {
    close();
    add(item);
    done(item);
  }

  function openCall(event: Extract<StreamEvent, { type: "tool-call-start" }>): void {
    close();
    const call_id = event.id === "" ? newId("call") : event.id;
    const shared = { kind: "call", call_id, name: event.name, told: "" } as const;
    open = event.custom
      ? { ...shared, id: newId("ctc"), type: "custom_tool_call", field: "input", step: "custom_tool_call_input" }
      : { ...shared, id: newId("fc"), type: "function_call", field: "arguments", step: "function_call_arguments" };
    add(callItem(open, "in_progress"));
  }

  function addArguments(call: Call, text: string): void {
    if (text === "") return;
    call.told += text;
    send?.(`response.${call.step}.delta`, { ...at(), delta: text });
  }

  function closeCall(call: Call): void {
    // So that what the caller puts together can be parsed.
    if (call.told === "" && call.type === "function_call") addArguments(call, "{}");
    const name = call.type === "function_call" ? { name: call.name } : {};
    send?.(`response.${call.step}.done`, { ...at(), ...name, [call.field]: call.told });
    done(callItem(call, "completed"));
  }

  function write(event: StreamEvent): void {
    switch (event.type) {
      case "text-start":
        if (open?.kind === "message") closePart(open);
        break;
      case "text-delta":
        addToPart("text", event.text);
        break;
      case "text-end":
        if (open?.kind === "message") closePart(open, event.citations);
        break;
      case "refusal-delta":
        refused ||= event.text !== "";
        addToPart("refusal", event.text);
        break;
      case "thinking-start":
        openReasoning();
        break;
      case "thinking-delta":
        addThinking(event.text);
        break;
      case "thinking-end":
        if (open?.kind === "reasoning") closeReasoning(open, event.signature);
        break;
      case "redacted-thinking":
        close();
        whole({ type: "reasoning", id: newId("rs"), summary: [], encrypted_content: sealRedacted(event.data) });
        break;
      case "tool-call-start":
        openCall(event);
        break;
      case "tool-call-delta":
        if (open?.kind === "call") addArguments(open, event.arguments);
        break;
      case "tool-call-end":
        if (open?.kind === "call") closeCall(open);
        break;
      case "opaque":
        if (event.part.dialect === ID) whole(event.part.value);
        break;
    }
  }

  return {
    items,
    get refused() {
      return refused;
    },
    write,
    close,
  };
}

const summaryPart = (text: string): JsonObject => ({ type: "summary_text", text });

function messageItem({ id, content }: Message, status: string): JsonObject {
  return { type: "message", id, status, role: "assistant", content: [...content] };
}

function partItem({ kind, text }: NonNullable<Message["part"]>, annotations: JsonObject[] = []): JsonObject {
  return kind === "refusal"
    ? { type: "refusal", refusal: text }
    : { type: "output_text", text, annotations, logprobs: [] };
}

function callItem({ type, id, call_id, name, field, told }: Call, status: string): JsonObject {
  return { type, id, call_id, name, [field]: told, status };
}

/** Annotations as they came from this dialect; of others, the pages that they name. */
function annotationsOf(citations: Citations | undefined, text: string): JsonObject[] {
  if (citations?.dialect === ID && Array.isArray(citations.value)) return citations.value as JsonObject[];
  return (citations?.sources ?? []).map(({ url, title = "", start = 0, end = text.length }) => ({
    type: "url_citation",
    url,
    title,
    start_index: start,
    end_index: end,
  }));
}
