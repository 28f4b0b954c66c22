import type { StreamEvent } from "../../core/events.ts";
import type { Signature } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { decodeAnnotations, located } from "./annotations.ts";
import type { Seen } from "./finish.ts";

interface TextBlock {
  kind: "text" | "thinking" | "refusal";
  /** Not emitted yet. */
  pending: string;
  /** Something was added. */
  filled: boolean;
  open: boolean;
  /** Nothing more belongs to it. */
  sealed: boolean;
  signature?: Signature;
  citations?: JsonObject[];
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

type Block = TextBlock | CallBlock | { kind: "event"; event: StreamEvent };

/**
 * The blocks of one choice, in the order in which they began. Only the first of the queue is written; what belongs to
 * a later one waits until the first is complete. So parallel tool calls that arrive interleaved leave one by one.
 */
export interface Blocks {
  readonly seen: Seen;
  add(kind: TextBlock["kind"], text: string): void;
  /** True while thinking can be continued that has text already. */
  thinks(): boolean;
  /** Ends the thinking at hand; without any, a block without text carries the signature. */
  seal(signature: Signature | undefined): void;
  cite(annotations: JsonObject[]): void;
  event(event: StreamEvent): void;
  call(piece: JsonObject): void;
  /** Writes and closes everything. */
  flush(): void;
}

export interface BlocksOptions {
  at: { choice?: number };
  emit(event: StreamEvent): void;
  /** Signature of thinking that came without one. */
  unsigned(): Signature | undefined;
  /** Id of the n-th call, if the server gave none. */
  callId(n: number): string;
}

export function blocks({ at, emit, unsigned, callId }: BlocksOptions): Blocks {
  const seen: Seen = { call: false, refusal: false };
  const queue: Block[] = [];
  const calls: CallBlock[] = [];
  /** Length of all text so far. */
  let said = 0;

  function pump(final: boolean): void {
    for (let head = queue[0]; head; head = queue[0]) {
      write(head, final);
      if (!final && !isOver(head) && !(queue.length > 1 && isComplete(head))) return;
      close(head);
      queue.shift();
    }
  }

  function write(block: Block, final: boolean): void {
    if (block.kind === "event") emit(block.event);
    else if (block.kind === "call") writeCall(block, final);
    else {
      if (!block.open && block.kind !== "refusal") emit({ type: `${block.kind}-start`, ...at });
      block.open = true;
      if (block.pending !== "") emit({ type: `${block.kind}-delta`, text: block.pending, ...at });
      block.pending = "";
    }
  }

  function writeCall(block: CallBlock, final: boolean): void {
    if (!block.open) {
      if (block.name === "" && !(final && (block.id !== "" || block.text !== ""))) return;
      block.open = true;
      seen.call = true;
      const { name, custom } = block;
      const id = block.id || callId(calls.indexOf(block));
      emit({ type: "tool-call-start", id, name, ...(custom && { custom }), ...at });
    }
    if (block.pending !== "") emit({ type: "tool-call-delta", arguments: block.pending, ...at });
    block.pending = "";
  }

  function close(block: Block): void {
    if (block.kind === "text") {
      const citations = block.citations && decodeAnnotations(block.citations, block.before, block.length);
      emit({ type: "text-end", ...at, ...(citations && { citations }) });
    } else if (block.kind === "thinking") {
      const signature = block.signature ?? unsigned();
      emit({ type: "thinking-end", ...(signature && { signature }), ...at });
    } else if (block.kind === "call") {
      block.closed = true;
      if (block.open) emit({ type: "tool-call-end", ...at });
    }
  }

  function last<K extends TextBlock["kind"]>(kind: K): TextBlock | undefined {
    const block = queue.at(-1);
    return block?.kind === kind && !block.sealed ? block : undefined;
  }

  function begin(kind: TextBlock["kind"]): TextBlock {
    const state = { pending: "", filled: false, open: false, sealed: false };
    const block: TextBlock = { kind, ...state, before: said, length: 0 };
    queue.push(block);
    return block;
  }

  return {
    seen,
    add(kind, text) {
      if (text === "") return;
      if (kind === "refusal") seen.refusal = true;
      const block = last(kind) ?? begin(kind);
      block.pending += text;
      block.filled = true;
      block.length += text.length;
      if (kind === "text") said += text.length;
      pump(false);
    },
    thinks: () => last("thinking")?.filled ?? false,
    seal(signature) {
      const block = last("thinking") ?? begin("thinking");
      if (signature) block.signature = signature;
      block.sealed = true;
      pump(false);
    },
    cite(annotations) {
      const text = queue.findLast((candidate): candidate is TextBlock => candidate.kind === "text");
      const block = text ?? begin("text");
      const more = annotations.map((annotation) => located(annotation, block.before, block.length));
      block.citations = [...(block.citations ?? []), ...more];
    },
    event(event) {
      queue.push({ kind: "event", event });
      pump(false);
    },
    call(piece) {
      const { block, args } = findCall(calls, piece);
      if (!calls.includes(block)) {
        calls.push(block);
        queue.push(block);
      }
      if (block.closed) return;
      block.pending += args;
      block.text += args;
      pump(false);
    },
    flush: () => pump(true),
  };
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
