import type { StreamEvent } from "../../core/events.ts";
import type { Signature } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { decodeAnnotations, located } from "./annotations.ts";
import type { Seen } from "./finish.ts";
import { ID } from "./id.ts";

interface TextBlock {
  kind: "text" | "thinking" | "refusal";
  /** Not emitted yet. */
  pending: string;
  /** Something was added. */
  filled: boolean;
  open: boolean;
  /** Nothing more belongs to it. */
  sealed: boolean;
  signature: Signature | undefined;
  citations: JsonObject[] | undefined;
  /** Length of the answer's text before it, and of its own. */
  before: number;
  length: number;
}

interface CallBlock {
  kind: "call";
  index: number | undefined;
  id: string;
  name: string;
  pending: string;
  /** All arguments so far. */
  text: string;
  open: boolean;
  closed: boolean;
  /** It takes free text. */
  custom: boolean;
}

type Block = TextBlock | CallBlock | { kind: "event"; event: ChoiceEvent };

/** What is known of an answer beside its choices. */
export interface Answer {
  /** Source of the ids of calls that came without one. */
  id?: string;
  /** As the provider names it. */
  model?: string;
  /** Origin of thinking that came without a signature. */
  originType?: string | undefined;
}

/** Events that belong to one choice. */
type ChoiceEvent = Exclude<StreamEvent, { type: "start" | "usage" | "error" }>;

const START = { text: "text-start", thinking: "thinking-start" } as const;
const DELTA = { text: "text-delta", thinking: "thinking-delta", refusal: "refusal-delta" } as const;

/**
 * The blocks of one choice, in the order in which they began. Only the first of the queue is written; what belongs to
 * a later one waits until the first is complete. So parallel tool calls that arrive interleaved leave one by one.
 */
export class Blocks {
  readonly seen: Seen = { call: false, refusal: false };
  readonly #queue: Block[] = [];
  readonly #calls: CallBlock[] = [];
  readonly #index: number;
  readonly #answer: Answer;
  readonly #out: (event: StreamEvent) => void;
  /** Length of all text so far. */
  #said = 0;

  constructor(index: number, answer: Answer, out: (event: StreamEvent) => void) {
    this.#index = index;
    this.#answer = answer;
    this.#out = out;
  }

  /** Hands an event on as one of this choice. */
  emit(event: ChoiceEvent): void {
    if (this.#index > 0) event.choice = this.#index;
    this.#out(event);
  }

  add(kind: TextBlock["kind"], text: string): void {
    if (text === "") return;
    if (kind === "refusal") this.seen.refusal = true;
    const block = this.#last(kind) ?? this.#begin(kind);
    block.pending += text;
    block.filled = true;
    block.length += text.length;
    if (kind === "text") this.#said += text.length;
    this.#pump(false);
  }

  /** True while thinking can be continued that has text already. */
  thinks(): boolean {
    return this.#last("thinking")?.filled ?? false;
  }

  /** Ends the thinking at hand; without any, a block without text carries the signature. */
  seal(signature: Signature | undefined): void {
    const block = this.#last("thinking") ?? this.#begin("thinking");
    if (signature) block.signature = signature;
    block.sealed = true;
    this.#pump(false);
  }

  /** A signature that the server put on thinking of its own. */
  sign(data: string): Signature {
    const { model, originType: origin = ID } = this.#answer;
    return model === undefined ? { origin, data } : { origin, model, data };
  }

  cite(annotations: readonly JsonObject[]): void {
    const text = this.#queue.findLast((candidate): candidate is TextBlock => candidate.kind === "text");
    const block = text ?? this.#begin("text");
    const more = annotations.map((annotation) => located(annotation, block.before, block.length));
    block.citations = [...(block.citations ?? []), ...more];
  }

  event(event: ChoiceEvent): void {
    this.#queue.push({ kind: "event", event });
    this.#pump(false);
  }

  call(piece: JsonObject): void {
    const { block, args } = findCall(this.#calls, piece);
    if (!this.#calls.includes(block)) {
      this.#calls.push(block);
      this.#queue.push(block);
    }
    if (block.closed) return;
    block.pending += args;
    block.text += args;
    this.#pump(false);
  }

  /** Writes and closes everything. */
  flush(): void {
    this.#pump(true);
  }

  #pump(final: boolean): void {
    const queue = this.#queue;
    for (let head = queue[0]; head; head = queue[0]) {
      this.#write(head, final);
      if (!final && !isOver(head) && !(queue.length > 1 && isComplete(head))) return;
      this.#close(head);
      queue.shift();
    }
  }

  #write(block: Block, final: boolean): void {
    if (block.kind === "event") this.emit(block.event);
    else if (block.kind === "call") this.#writeCall(block, final);
    else {
      if (!block.open && block.kind !== "refusal") this.emit({ type: START[block.kind] });
      block.open = true;
      if (block.pending !== "") this.emit({ type: DELTA[block.kind], text: block.pending });
      block.pending = "";
    }
  }

  #writeCall(block: CallBlock, final: boolean): void {
    if (!block.open) {
      if (block.name === "" && !(final && (block.id !== "" || block.text !== ""))) return;
      block.open = true;
      this.seen.call = true;
      const { name, custom } = block;
      const id = block.id || this.#callId(this.#calls.indexOf(block));
      this.emit({ type: "tool-call-start", id, name, ...(custom && { custom }) });
    }
    if (block.pending !== "") this.emit({ type: "tool-call-delta", arguments: block.pending });
    block.pending = "";
  }

  /** Of the n-th call, if the server gave none. */
  #callId(n: number): string {
    const id = (this.#answer.id ?? "").replace(/[^0-9a-zA-Z]/g, "").slice(-24);
    return `call_${id}_${this.#index}_${n}`;
  }

  #close(block: Block): void {
    if (block.kind === "text") {
      const citations = block.citations && decodeAnnotations(block.citations, block.before, block.length);
      this.emit(citations ? { type: "text-end", citations } : { type: "text-end" });
    } else if (block.kind === "thinking") {
      const signature = block.signature ?? this.#unsigned();
      this.emit(signature ? { type: "thinking-end", signature } : { type: "thinking-end" });
    } else if (block.kind === "call") {
      block.closed = true;
      if (block.open) this.emit({ type: "tool-call-end" });
    }
  }

  /** Of thinking that came without one. */
  #unsigned(): Signature | undefined {
    return this.#answer.originType === undefined ? undefined : this.sign("");
  }

  #last(kind: TextBlock["kind"]): TextBlock | undefined {
    const block = this.#queue.at(-1);
    return block?.kind === kind && !block.sealed ? block : undefined;
  }

  #begin(kind: TextBlock["kind"]): TextBlock {
    const block: TextBlock = {
      kind,
      pending: "",
      filled: false,
      open: false,
      sealed: false,
      signature: undefined,
      citations: undefined,
      before: this.#said,
      length: 0,
    };
    this.#queue.push(block);
    return block;
  }
}

/** Nothing more can come, although nothing follows yet. */
function isOver(block: Block): boolean {
  return block.kind === "event" || (block.kind === "thinking" && block.sealed);
}

/** Whether a block that is followed by another one is at its end. A call is when its arguments are; text never tells. */
function isComplete(block: Block): boolean {
  return block.kind !== "call" || (block.open && !block.custom && isCompleteJson(block.text));
}

function isCompleteJson(text: string): boolean {
  if (!text.trimEnd().endsWith("}")) return false;
  try {
    return isObject(JSON.parse(text));
  } catch {
    return false;
  }
}

/**
 * The call that a piece belongs to: by index, by id, or the last one. Servers leave out either, repeat both, or give
 * every call index 0.
 */
function findCall(calls: readonly CallBlock[], piece: JsonObject): { block: CallBlock; args: string } {
  const custom = piece.type === "custom" || isObject(piece.custom);
  const body = custom ? piece.custom : piece.function;
  const inner = isObject(body) ? body : piece;
  const index = Number.isInteger(piece.index) ? (piece.index as number) : undefined;
  const id = typeof piece.id === "string" ? piece.id : "";
  const name = typeof inner.name === "string" ? inner.name : "";
  const sent = inner.arguments ?? inner.input ?? "";
  const args = typeof sent === "string" ? sent : JSON.stringify(sent);

  const byId = id === "" ? undefined : calls.findLast((call) => call.id === id);
  const found =
    index === undefined
      ? (byId ?? (id === "" ? calls.at(-1) : undefined))
      : calls.findLast((call) => call.index === index);
  if (found && !isNext(found, id, name)) {
    found.id ||= id;
    found.name ||= name;
    return { block: found, args };
  }
  const block: CallBlock = { kind: "call", index, id, name, pending: "", text: "", open: false, closed: false, custom };
  return { block, args };
}

/** A piece with a name is another call if its id differs, or, without ids, if the call at hand is whole. */
function isNext(call: CallBlock, id: string, name: string): boolean {
  if (name === "") return false;
  return id !== "" && call.id !== "" ? id !== call.id : isCompleteJson(call.text);
}
