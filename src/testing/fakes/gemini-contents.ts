import type { GeminiModel } from "./gemini-models.ts";
import { PART_DATA } from "./gemini-proto.ts";
import type { GeminiContent, GeminiPart } from "./gemini-types.ts";
import { Seal } from "./seal.ts";

/** What the Gemini API wants of the conversation: parts, turns, calls with results, thought signatures. */

/** Thought signatures, as of one call or text. */
export const SIGNATURE = new Seal([0x12]);
/** Accepted in place of a signature that is not known [G-THOUGHT]; as text, and in Base64 as a bytes field has it [FX-P]. */
const SKIP = ["skip_thought_signature_validator", btoa("skip_thought_signature_validator")];

/** The faults of one content in itself, as `path: what`. */
export function contentFaults({ parts }: GeminiContent, path: string): string[] {
  if (!parts?.length) return [`${path}.parts: contents.parts must not be empty.`];
  return parts.flatMap((part, i) => partFaults(part, `${path}.parts[${i}]`));
}

function partFaults(part: GeminiPart, path: string): string[] {
  if (!PART_DATA.some((key) => key in part))
    return [`${path}.data: required oneof field 'data' must have one initialized field`];
  const missing = (what: unknown, name: string) => (what ? [] : [`${path}.${name}: must not be empty.`]);
  const { inlineData, fileData, functionCall, functionResponse } = part;
  return [
    ...(inlineData ? missing(inlineData.mimeType, "inline_data.mime_type") : []),
    ...(inlineData ? missing(inlineData.data, "inline_data.data") : []),
    ...(fileData ? missing(fileData.fileUri, "file_data.file_uri") : []),
    ...(functionCall && !functionCall.name ? [`${path}.function_call.name: Name cannot be empty.`] : []),
    ...(functionResponse && !functionResponse.name ? [`${path}.function_response.name: Name cannot be empty.`] : []),
    ...(functionResponse ? missing(functionResponse.response, "function_response.response") : []),
  ];
}

const callsIn = (content: GeminiContent | undefined) => (content?.parts ?? []).filter((part) => part.functionCall);
const resultsIn = (content: GeminiContent | undefined) =>
  (content?.parts ?? []).filter((part) => part.functionResponse);

/** The first fault of the conversation as a whole. @param foreign whoever issued a signature, it is genuine */
export function turnFault(
  contents: readonly GeminiContent[],
  model: GeminiModel,
  foreign: boolean,
): string | undefined {
  for (const content of contents) {
    const fault = roleFault(content) ?? mediaFault(content, model);
    if (fault !== undefined) return fault;
  }
  const turns = turnsOf(contents);
  for (const i of turns.keys()) {
    const fault = pairFault(turns, i);
    if (fault !== undefined) return fault;
  }
  return signatureFault(contents, foreign) ?? (model.needsSignature ? missingSignature(contents) : undefined);
}

/**
 * What the model said in a row is one turn: so the SDK's chat repeats a stream, chunk by chunk. Results are not: those
 * of one turn must come in one content [vertesia/llumiverse#620].
 */
function turnsOf(contents: readonly GeminiContent[]): GeminiContent[] {
  const turns: GeminiContent[] = [];
  for (const { role = "user", parts = [] } of contents) {
    const last = turns.at(-1);
    if (role === "model" && last?.role === "model") last.parts?.push(...parts);
    else turns.push({ role, parts: [...parts] });
  }
  return turns;
}

function roleFault(content: GeminiContent): string | undefined {
  const { role = "user" } = content;
  if (role !== "user" && role !== "model") return "Please use a valid role: user, model.";
  if (role === "user" && callsIn(content).length > 0)
    return "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
  if (role === "model" && resultsIn(content).length > 0)
    return "Please ensure that function response turn comes immediately after a function call turn.";
  return undefined;
}

/** Calls after the user or results; as many results directly after the calls. */
function pairFault(turns: readonly GeminiContent[], i: number): string | undefined {
  const [before, here, after] = [turns[i - 1], turns[i], turns[i + 1]];
  const calls = callsIn(here);
  const results = resultsIn(here);
  if (calls.length > 0) {
    if (!before)
      return "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
    if (resultsIn(after).length !== calls.length)
      return "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.";
  }
  if (results.length === 0) return undefined;
  const asked = callsIn(before);
  if (asked.length === 0)
    return "Please ensure that function response turn comes immediately after a function call turn.";
  const names = (parts: GeminiPart[]) =>
    parts.map(({ functionCall, functionResponse }) => (functionCall ?? functionResponse)?.name).sort();
  // The API's own words for this are not known.
  return names(asked).join() === names(results).join()
    ? undefined
    : "Please ensure that function responses have the names of the function calls they answer.";
}

function mediaFault(content: GeminiContent, model: GeminiModel): string | undefined {
  const hasMedia = resultsIn(content).some((part) => part.functionResponse?.parts?.length);
  return hasMedia && !model.mediaInResults
    ? "Multimodal function responses are not supported for this model."
    : undefined;
}

function signatureFault(contents: readonly GeminiContent[], foreign: boolean): string | undefined {
  const all = contents.flatMap(({ parts = [] }) => parts.flatMap((part) => part.thoughtSignature ?? []));
  const isGood = (value: string) => foreign || SKIP.includes(value) || SIGNATURE.read(value) !== undefined;
  return all.every(isGood) ? undefined : "Corrupted thought signature.";
}

/** Since the user last spoke, the first call of each content needs its signature [G-THOUGHT, pipecat-ai/pipecat#3420]. */
function missingSignature(contents: readonly GeminiContent[]): string | undefined {
  const start = contents.findLastIndex((content) => content.role !== "model" && resultsIn(content).length === 0);
  for (const [i, content] of contents.entries()) {
    const [first] = callsIn(content);
    if (i < start || !first || first.thoughtSignature) continue;
    const which = `Additional data, function call \`default_api:${first.functionCall?.name}\` , position ${i + 1}.`;
    return `Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. ${which} Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.`;
  }
  return undefined;
}
