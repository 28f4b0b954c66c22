import type { CallerContext } from "../../core/dialect.ts";
import type { Citations, OpaquePart, Part, ThinkingPart, ToolCallPart } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { callArgs, callId } from "./calls.ts";
import { camel, present } from "./check.ts";
import { encodeCitations, joinGrounding } from "./citations.ts";
import { ID } from "./id.ts";
import { writeSigned } from "./signatures.ts";

/** Thoughts are shown to who asked for them; without the request at hand, the context alone decides. */
function showsThoughts({ showThinking, request }: CallerContext): boolean {
  if (!showThinking || !request) return showThinking;
  const config = request.member("generationConfig") ?? request.member("generation_config");
  const thinking = isObject(config) ? camel(config).thinkingConfig : undefined;
  return isObject(thinking) && camel(thinking).includeThoughts === true;
}

/** Writes the parts of one candidate, in their order. A signature waits for the part that follows its thinking. */
export class PartWriter {
  readonly shown: boolean;
  readonly #context: CallerContext;
  readonly #index: number;
  #signature: string | undefined;
  #calls = 0;
  #said = "";
  /** Members that stand beside the content: where the words come from. */
  grounding: JsonObject = {};

  constructor(context: CallerContext, index: number) {
    this.#context = context;
    this.#index = index;
    this.shown = showsThoughts(context);
  }

  text(text: string): JsonObject[] {
    if (text === "") return [];
    this.#said += text;
    return [this.#signed({ text })];
  }

  /** @param text the part's whole text, which was written just before */
  cite(citations: Citations | undefined, text: string): void {
    if (!citations) return;
    const before = this.#said.slice(0, this.#said.length - text.length);
    this.grounding = joinGrounding(this.grounding, encodeCitations(citations, text, before));
  }

  thought(text: string): JsonObject[] {
    return this.shown && text !== "" ? [{ text, thought: true }] : [];
  }

  /** The end of a thinking block whose text was written already. */
  sign(thinking: ThinkingPart): JsonObject[] {
    const signature = writeSigned(thinking, this.shown);
    if (signature === undefined) return [];
    const before = this.rest();
    this.#signature = signature;
    return before;
  }

  call({
    id,
    name,
    arguments: json,
    custom,
  }: Pick<ToolCallPart, "id" | "name" | "arguments" | "custom">): JsonObject[] {
    const ordinal = this.#calls++;
    const callIdentity = id || callId(this.#context.id, this.#index, ordinal, name, json);
    return [
      this.#signed({ functionCall: { id: callIdentity, name, args: custom ? { input: json } : callArgs(json) } }),
    ];
  }

  opaque({ dialect, value }: OpaquePart): JsonObject[] {
    return dialect === ID ? [...this.rest(), value] : [];
  }

  /** What still waits when nothing follows. */
  rest(): JsonObject[] {
    return this.#signature === undefined ? [] : [this.#signed({ text: "" })];
  }

  /** A part of a whole answer. */
  part(part: Part): JsonObject[] {
    switch (part.type) {
      case "text": {
        const written = this.text(part.text);
        this.cite(part.citations, part.text);
        return written;
      }
      case "refusal":
        return this.text(part.text);
      case "thinking":
        return [...this.thought(part.text), ...this.sign(part)];
      case "tool-call":
        return this.call(part);
      case "opaque":
        return this.opaque(part);
      default:
        return [];
    }
  }

  #signed(part: JsonObject): JsonObject {
    const thoughtSignature = this.#signature;
    this.#signature = undefined;
    return present({ ...part, thoughtSignature });
  }
}
