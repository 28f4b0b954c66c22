import type { FinishReason } from "../../../src/core/request.ts";
import { isObject, type JsonObject } from "../../../src/core/util.ts";
import {
  addresses,
  type ChoiceFacts,
  canonicalText,
  emptyChoice,
  type Facts,
  num,
  object,
  objects,
  str,
  strings,
  type UsageFacts,
} from "../facts.ts";
import { payloads, said, type Wire } from "./wire.ts";

const REFUSED = /^((IMAGE_)?(SAFETY|RECITATION|PROHIBITED_CONTENT)|BLOCKLIST|SPII)$/;
/** Errors where nothing was said before. */
const FAILED = /^(MALFORMED_FUNCTION_CALL|MALFORMED_RESPONSE|UNEXPECTED_TOOL_CALL)$/;

interface Reading extends ChoiceFacts {
  reason: string;
  /** Words that go with it. */
  failure: string;
  /** A call whose arguments still come. */
  open: JsonObject | undefined;
}

export const geminiWire: Wire = {
  dialect: "gemini",
  path: /:(stream)?[gG]enerateContent(\?|$)/,
  isWhole: (body) => isAnswer(body),
  isPiece: (body) => isAnswer(body),
  isError: (body) => typeof object(body.error).code === "number" && typeof object(body.error).status === "string",

  whole: (body) => read([body]),
  stream: (events) => read(payloads(events)),

  request(asked) {
    const out = said();
    const body = isObject(asked.generateContentRequest) ? asked.generateContentRequest : asked;
    const contents = [body.systemInstruction ?? body.system_instruction, body.contents].flat();
    for (const content of contents)
      for (const part of typeof content === "string" ? [{ text: content }] : objects(object(content).parts)) {
        if (part.text && part.thought !== true) out.texts.push(str(part.text));
        const { name, args } = object(part.functionCall ?? part.function_call);
        if (name) out.calls.push({ name: str(name), input: args ?? {} });
        const { response } = object(part.functionResponse ?? part.function_response);
        if (response) out.texts.push(...strings(response));
      }
    for (const tool of objects(body.tools))
      for (const [kind, value] of Object.entries(tool)) {
        if (!/^function_?declarations$/i.test(kind)) out.tools.push({ name: kind });
        else
          for (const { name, parameters, parametersJsonSchema } of objects(value))
            out.tools.push({ name: str(name), schema: parametersJsonSchema ?? parameters });
      }
    const { contents: _, systemInstruction: __, system_instruction: ___, tools: ____, ...parameters } = body;
    out.parameters = parameters;
    return out;
  },

  errorMessage: (body) => str(object(body.error).message),
};

function isAnswer(body: JsonObject): boolean {
  const answered = body.candidates ?? body.promptFeedback;
  return answered !== undefined || (isObject(body.usageMetadata) && body.serverContent === undefined);
}

function read(pieces: JsonObject[]): Facts {
  const choices: Reading[] = [];
  let usage: JsonObject = {};
  let error: string | undefined;
  let blocked = false;
  for (const piece of pieces) {
    for (const candidate of objects(piece.candidates)) {
      const index = num(candidate.index);
      while (choices.length <= index) choices.push(begun(""));
      addCandidate(candidate, choices[index]!);
    }
    if (object(piece.promptFeedback).blockReason) blocked = true;
    if (isObject(piece.error)) error = str(piece.error.message);
    const counted = object(piece.usageMetadata);
    if (counted.promptTokenCount !== undefined) usage = counted;
  }
  if (choices.length === 0) choices.push(begun(blocked ? "SAFETY" : ""));
  const failed = choices.find(
    (choice) => FAILED.test(choice.reason) && choice.text + choice.thinking === "" && choice.calls.length === 0,
  );
  if (failed) error ??= failed.failure;
  return {
    choices: choices.map(finished),
    ...(usage.promptTokenCount !== undefined && { usage: readUsage(usage) }),
    ...(error !== undefined && { error }),
    complete: error === undefined && choices.every(({ reason }) => reason !== ""),
  };
}

const begun = (reason: string): Reading => ({ ...emptyChoice(), reason, failure: "", open: undefined });

function addCandidate(candidate: JsonObject, choice: Reading): void {
  for (const part of objects(object(candidate.content).parts)) addPart(part, choice);
  choice.urls.push(...addresses(candidate.groundingMetadata));
  for (const source of objects(
    object(candidate.citationMetadata).citations ?? object(candidate.citationMetadata).citationSources,
  ))
    if (source.uri) choice.urls.push(str(source.uri));
  choice.reason = str(candidate.finishReason) || choice.reason;
  choice.failure = str(candidate.finishMessage);
}

function addPart(part: JsonObject, choice: Reading): void {
  if (part.thoughtSignature) choice.proofs.push(str(part.thoughtSignature));
  if (typeof part.text === "string") {
    if (part.thought === true) choice.thinking += part.text;
    else choice.text += part.text;
  } else if (isObject(part.functionCall)) addCall(part.functionCall, choice);
  else if (Object.keys(part).some((key) => key !== "thought" && key !== "thoughtSignature"))
    choice.blocks.push(canonicalText(part));
}

/** Vertex sends arguments in pieces, each with the place it belongs to. */
function addCall({ id, name, args, partialArgs, willContinue }: JsonObject, choice: Reading): void {
  if (name !== undefined) {
    const input = structuredClone(object(args));
    choice.calls.push({ id: str(id), name: str(name), input });
    choice.open = willContinue ? input : undefined;
    for (const piece of objects(partialArgs)) place(piece, input);
  } else if (choice.open) {
    for (const piece of objects(partialArgs)) place(piece, choice.open);
    if (!willContinue) choice.open = undefined;
  }
}

function place(piece: JsonObject, input: JsonObject): void {
  const steps = [...str(piece.jsonPath).matchAll(/\.([^.[\]]+)|\[(\d+)\]|\['([^']*)'\]/g)].map(
    ([, name, index, quoted]) => (index === undefined ? (name ?? quoted!) : Number(index)),
  );
  const last = steps.pop();
  if (last === undefined) return;
  // biome-ignore lint/suspicious/noExplicitAny: a walk through untyped JSON
  let at: any = input;
  for (const [i, step] of steps.entries()) {
    at[step] ??= typeof (steps[i + 1] ?? last) === "number" ? [] : {};
    at = at[step];
  }
  const { stringValue, numberValue, boolValue } = piece;
  if (typeof stringValue === "string") at[last] = str(at[last]) + stringValue;
  else at[last] = "nullValue" in piece ? null : (numberValue ?? boolValue);
}

function finished({ reason, failure: _, open: __, ...facts }: Reading): ChoiceFacts {
  return { ...facts, finish: finishOf(reason, facts.calls.length > 0) };
}

function finishOf(reason: string, called: boolean): FinishReason {
  if (reason === "MAX_TOKENS") return "length";
  if (reason === "CONTINUATION") return "pause";
  if (REFUSED.test(reason)) return "refusal";
  return called ? "tool-calls" : "stop";
}

function readUsage(usage: JsonObject): UsageFacts {
  const reasoning = num(usage.thoughtsTokenCount);
  return {
    input: num(usage.promptTokenCount) + num(usage.toolUsePromptTokenCount),
    output: num(usage.candidatesTokenCount) + reasoning,
    cacheRead: num(usage.cachedContentTokenCount),
    cacheWrite: 0,
    reasoning,
  };
}
