import type { StreamEvent } from "../../core/events.ts";
import type { JsonObject } from "../../core/util.ts";
import {
  argumentsOf,
  decodeCall,
  decodeCitations,
  decodeItem,
  isPlainCall,
  objects,
  string,
  textsOf,
} from "./response.ts";
import { readReasoning } from "./thinking.ts";

/** Reads the events of one output item. */
export interface ItemReader {
  /** The item as it was when it was added. */
  readonly value: JsonObject;
  /** Says what `value` tells already. */
  begin?(): void;
  /** An event between `output_item.added` and `output_item.done`. */
  read(event: JsonObject, type: string): void;
  /** @param value the complete item: it tells what no delta has told */
  finish(value: JsonObject): { logprobs?: JsonObject[]; refused?: boolean };
}

type Emit = (event: StreamEvent) => void;

export function itemReader(value: JsonObject, emit: Emit): ItemReader {
  if (value.type === "message") return messageReader(value, emit);
  if (value.type === "reasoning") return reasoningReader(value, emit);
  if (isPlainCall(value)) return callReader(value, emit);
  return {
    value,
    read() {},
    finish(complete) {
      for (const part of decodeItem(complete)) if (part.type === "opaque") emit({ type: "opaque", part });
      return {};
    },
  };
}

const indexOf = (index: unknown): number => (Number.isSafeInteger(index) ? Number(index) : 0);

/** What `whole` says beyond `told`; nothing if they differ. */
function remainder(whole: string, told: string): string {
  return whole.startsWith(told) ? whole.slice(told.length) : "";
}

function messageReader(value: JsonObject, emit: Emit): ItemReader {
  /** What was told of each part. */
  const told = new Map<number, string>();
  const annotations = new Map<number, JsonObject[]>();
  const logprobs: JsonObject[] = [];
  /** Part whose text is open. */
  let open: number | undefined;
  let refused = false;

  function close(): void {
    if (open === undefined) return;
    const citations = decodeCitations(annotations.get(open));
    emit({ type: "text-end", ...(citations && { citations }) });
    open = undefined;
  }

  function addText(index: number, text: string): void {
    if (open !== index) {
      close();
      emit({ type: "text-start" });
      open = index;
    }
    told.set(index, (told.get(index) ?? "") + text);
    if (text !== "") emit({ type: "text-delta", text });
  }

  function addRefusal(index: number, text: string): void {
    close();
    refused = true;
    told.set(index, (told.get(index) ?? "") + text);
    if (text !== "") emit({ type: "refusal-delta", text });
  }

  function complete(index: number, part: JsonObject): void {
    const cited = objects(part.annotations);
    if (cited.length > 0) annotations.set(index, cited);
    const before = told.get(index);
    if (part.type === "refusal") addRefusal(index, remainder(string(part.refusal) ?? "", before ?? ""));
    else if (part.type === "output_text" && (open === index || before === undefined))
      addText(index, remainder(string(part.text) ?? "", before ?? ""));
  }

  return {
    value,
    read(event, type) {
      const index = indexOf(event.content_index);
      const delta = string(event.delta) ?? "";
      if (type === "response.output_text.delta") {
        addText(index, delta);
        logprobs.push(...objects(event.logprobs));
      } else if (type === "response.refusal.delta") addRefusal(index, delta);
      else if (type === "response.output_text.annotation.added")
        annotations.set(index, [...(annotations.get(index) ?? []), ...objects([event.annotation])]);
      else if (type === "response.output_text.done") complete(index, { type: "output_text", text: event.text });
      else if (type === "response.refusal.done") complete(index, { type: "refusal", refusal: event.refusal });
    },
    finish(whole) {
      const content = objects(whole.content);
      for (const [index, part] of content.entries()) complete(index, part);
      close();
      const all = content.flatMap((part) => objects(part.logprobs));
      return { logprobs: all.length > 0 ? all : logprobs, refused };
    },
  };
}

/** Summary and content parts are paragraphs of one thinking block. */
function reasoningReader(value: JsonObject, emit: Emit): ItemReader {
  let started = false;
  let told = "";
  let paragraph: string | undefined;

  function start(): void {
    if (!started) emit({ type: "thinking-start" });
    started = true;
  }

  function add(key: string, text: string): void {
    if (text === "") return;
    start();
    const delta = told !== "" && key !== paragraph ? `\n\n${text}` : text;
    paragraph = key;
    told += delta;
    emit({ type: "thinking-delta", text: delta });
  }

  return {
    value,
    read(event, type) {
      const [, kind, step] = /^response\.reasoning_(summary_text|text)\.(delta|done)$/.exec(type) ?? [];
      if (kind === undefined) return;
      const key = `${kind} ${indexOf(event.summary_index ?? event.content_index)}`;
      if (step === "delta") add(key, string(event.delta) ?? "");
      else if (key !== paragraph) add(key, string(event.text) ?? "");
    },
    finish(whole) {
      const { text, signature, redacted } = readReasoning(textsOf(whole), whole.encrypted_content, whole.id);
      if (redacted !== undefined && !started) emit({ type: "redacted-thinking", data: redacted });
      else {
        start();
        const more = remainder(text, told);
        if (more !== "") emit({ type: "thinking-delta", text: more });
        emit({ type: "thinking-end", ...(signature && { signature }) });
      }
      return {};
    },
  };
}

function callReader(value: JsonObject, emit: Emit): ItemReader {
  let started = false;
  let told = false;
  /** Arguments that came before the name. */
  let pending = "";

  /** A call is told as soon as its name is known. */
  function start(item: JsonObject, final: boolean): void {
    const call = decodeCall(item);
    if (started || (call.name === "" && !final)) return;
    started = true;
    emit({ type: "tool-call-start", ...call, ...(item.type === "custom_tool_call" && { custom: true }) });
    if (pending !== "") emit({ type: "tool-call-delta", arguments: pending });
  }

  function add(text: string): void {
    if (text === "") return;
    told = true;
    if (started) emit({ type: "tool-call-delta", arguments: text });
    else pending += text;
  }

  return {
    value,
    begin: () => start(value, false),
    read(event, type) {
      if (type.endsWith(".delta")) add(string(event.delta) ?? "");
      else if (type.endsWith(".done") && !told) add(string(event.arguments) ?? string(event.input) ?? "");
    },
    finish(whole) {
      start(whole, true);
      if (!told) add(argumentsOf(whole));
      emit({ type: "tool-call-end" });
      return {};
    },
  };
}
