import type { ChatRequest, Message, Part, TextPart, ToolResultPart } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { CallBook, callArgs, callId } from "./calls.ts";
import { filled, flag, isEmpty, list, maybe, message, need, object, others, present, refuse, string } from "./check.ts";
import { ID } from "./id.ts";
import { decodeMedia, encodeMedia } from "./media.ts";
import { decodeResult, encodeResult } from "./results.ts";
import { pushSigned, readSigned } from "./signatures.ts";
import type { GeminiStyle } from "./style.ts";

/** Stands for a signature that nobody has any more. [G-THOUGHT] */
const NO_SIGNATURE = "skip_thought_signature_validator";

const ROLES: Record<string, Message["role"]> = { user: "user", function: "user", model: "assistant" };
const CONTENT_FIELDS = new Set(["role", "parts"]);
/** What a part says of its data, whatever the data is. */
const PART_MARKS = new Set(["thought", "thoughtSignature", "partMetadata", "mediaResolution", "mediaProcessing"]);

/** Contents of one side in a row are one turn: chats record a streamed answer piece by piece. */
export function decodeContents(contents: unknown[]): Message[] {
  const book = new CallBook();
  const messages: Message[] = [];
  for (const [i, value] of contents.entries()) {
    const path = `contents.${i}`;
    const content = message(value, path);
    const role = ROLES[maybe(content, "role", path, string) || "user"];
    if (!role) throw refuse(`${path}.role`, "must be one of user, model");
    const last = messages.at(-1);
    const into = last?.role === role ? last : { role, content: [] };
    if (into !== last) messages.push(into);
    for (const [j, part] of need(content, "parts", path, list).entries()) {
      const continues = role === "assistant" && into === last && j === 0;
      const at = `${path}.parts.${j}`;
      decodePart(message(part, at), at, { into: into.content, book, place: [i, j], continues });
    }
    const kept = others(content, CONTENT_FIELDS);
    if (!isEmpty(kept)) into.extensions = { dialect: ID, value: { ...into.extensions?.value, ...kept } };
  }
  return messages.map((turn) => (turn.role === "user" ? { ...turn, content: resultsFirst(turn.content) } : turn));
}

interface Decoding {
  into: Part[];
  book: CallBook;
  place: [content: number, part: number];
  /** Words go on with the part before. */
  continues: boolean;
}

function decodePart(part: JsonObject, path: string, { into, book, place, continues }: Decoding): void {
  const signature = maybe(part, "thoughtSignature", path, string) || undefined;
  const [kind] = Object.keys(part).filter((key) => !PART_MARKS.has(key) && part[key] !== null);
  const thought = maybe(part, "thought", path, flag) ?? false;
  switch (kind) {
    case undefined:
      if (signature === undefined) throw refuse(path, "must hold text, inlineData or another kind of part");
      return pushSigned(into, signature, "answer");
    case "text": {
      const text = need(part, "text", path, string);
      if (thought && signature) into.push(readSigned(text, signature, "answer"));
      else if (signature) pushSigned(into, signature, "answer");
      if ((thought && signature) || text === "") return;
      const last = into.at(-1);
      const type = thought ? "thinking" : "text";
      if (continues && last?.type === type && !("signature" in last)) last.text += text;
      else into.push({ type, text });
      return;
    }
    case "functionCall": {
      const call = message(part.functionCall, `${path}.functionCall`);
      const name = need(call, "name", `${path}.functionCall`, filled);
      const args = JSON.stringify(maybe(call, "args", `${path}.functionCall`, object) ?? {});
      const id = maybe(call, "id", `${path}.functionCall`, string) || callId(...place, name, args);
      book.add(id, name);
      if (signature) pushSigned(into, signature, "call");
      into.push({ type: "tool-call", id, name, arguments: args });
      return;
    }
    case "functionResponse": {
      const result = message(part.functionResponse, `${path}.functionResponse`);
      const name = need(result, "name", `${path}.functionResponse`, filled);
      const given = maybe(result, "id", `${path}.functionResponse`, string) || undefined;
      const id = book.answer(given, name) ?? given ?? callId(...place, name);
      into.push({ type: "tool-result", id, ...decodeResult(result, `${path}.functionResponse`) });
      return;
    }
    case "inlineData":
    case "fileData": {
      const media = thought || signature ? undefined : decodeMedia(part, path);
      into.push(media ?? { type: "opaque", dialect: ID, kind, value: part });
      return;
    }
    default:
      into.push({ type: "opaque", dialect: ID, kind, value: part });
  }
}

const isResult = (part: Part): part is ToolResultPart => part.type === "tool-result";

function resultsFirst(parts: Part[]): Part[] {
  return [...parts.filter(isResult), ...parts.filter((part) => !isResult(part))];
}

/** A call must directly follow the user, and its results it: messages of one side in a row become one turn. */
export function encodeContents(request: ChatRequest, model: string, style: GeminiStyle): JsonObject[] {
  const system = style.systemAsUser?.(model) ? request.system : [];
  const turns = joined([{ role: "user", content: [...system] }, ...request.messages]);
  const calls = new Map<string, { name: string; rank: number }>();
  for (const part of turns.flatMap(({ content }) => content)) {
    if (part.type === "tool-call") calls.set(part.id, { name: part.name, rank: calls.size });
  }
  const inside = style.mediaInResults?.(model) ?? false;
  // Signatures are asked for since the user last spoke.
  const lastAsked = turns.findLastIndex(({ role, content }) => role === "user" && !content.some(isResult));
  return turns.flatMap(({ role, content, extensions }, i) => {
    const kept = extensions?.dialect === ID ? extensions.value : {};
    const signed = i > lastAsked && (style.signedCalls?.(model) ?? false);
    const parts = role === "user" ? encodeAsked(content, calls, inside) : encodeTurn(content, signed);
    return parts.length === 0 ? [] : { ...kept, role: role === "user" ? "user" : "model", parts };
  });
}

function joined(messages: Message[]): Message[] {
  const turns: Message[] = [];
  for (const { role: given, content, extensions } of messages) {
    if (content.length === 0) continue;
    const role = given === "assistant" ? given : "user";
    const last = turns.at(-1);
    if (last?.role === role) last.content = [...last.content, ...content];
    else turns.push({ role, content, extensions });
  }
  return turns;
}

/** Results first, in the order of their calls, then what the target takes beside them only. */
function encodeAsked(
  content: Part[],
  calls: Map<string, { name: string; rank: number }>,
  inside: boolean,
): JsonObject[] {
  const rank = ({ id }: ToolResultPart) => calls.get(id)?.rank ?? calls.size;
  const results = content
    .filter(isResult)
    .sort((a, b) => rank(a) - rank(b))
    .map((part) => encodeResult(part, calls.get(part.id)?.name ?? part.id, inside));
  const rest = content.filter((part) => !isResult(part)).map((part) => encodePart(part));
  const beside = results.flatMap((result) => result.beside);
  return [...results.map(({ response }) => response), ...beside, ...rest].filter(isObject);
}

export function encodeSystem(system: TextPart[]): JsonObject[] {
  return system.map((part) => encodePart(part)).filter(isObject);
}

/** What the model said. Signatures stand on the parts that they came with; its thoughts are not told to it again. */
function encodeTurn(content: Part[], signed: boolean): JsonObject[] {
  const parts: JsonObject[] = [];
  const onCalls: string[] = [];
  const onAnswers: string[] = [];
  const flush = () => {
    for (const thoughtSignature of onAnswers.splice(0)) parts.push({ text: "", thoughtSignature });
  };
  for (const part of content) {
    if (part.type === "thinking") {
      const { signature } = part;
      if (signature?.origin === ID) (signature.kind === "answer" ? onAnswers : onCalls).push(signature.data);
    } else if (part.type === "tool-call") {
      flush();
      const { id, name, arguments: json } = part;
      const functionCall = { id, name, args: callArgs(json) };
      parts.push(present({ functionCall, thoughtSignature: onCalls.shift() }));
    } else {
      const encoded = encodePart(part, part.type === "text" ? onAnswers.shift() : undefined);
      if (encoded) parts.push(encoded);
    }
  }
  flush();
  const first = parts.find(({ functionCall }) => functionCall);
  if (signed && first) first.thoughtSignature ??= NO_SIGNATURE;
  return parts;
}

function encodePart(part: Part, thoughtSignature?: string): JsonObject | undefined {
  switch (part.type) {
    case "text":
      if (part.onlyFor !== undefined && part.onlyFor !== ID) return undefined;
      return part.text === "" && !thoughtSignature ? undefined : present({ text: part.text, thoughtSignature });
    case "refusal":
      return { text: part.text };
    default:
      return encodeMedia(part);
  }
}
