import type { Change } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { marksIn, opened } from "./marks.ts";

const THINKING = ["messages.thinking"];
const MEDIA = ["messages.image", "messages.document", "messages.audio"];

/**
 * What may be missing in the body that goes out, by where it stands in the caller's (without positions,
 * `messages.content.text`), and the fields of changes of which one must tell it then. What is in no row must be there.
 */
const TOLD: readonly [place: RegExp, fields: readonly string[]][] = [
  [/\b(thinking|thinking_blocks|signature|thoughtSignature|encrypted_content|summary)\b/, THINKING],
  [/^messages\.content\.data$|^input\.id$/, THINKING],
  // Of an unknown type, it is a block that nobody else has.
  [/\bfileData\b/, [...MEDIA, "messages"]],
  [/\b(query|executableCode)\b|^messages\.content\.file_id$/, ["messages"]],
  [/\.title$/, ["messages.document", "messages.document.title"]],
  [/\.(filename|displayName)$/, ["messages.document", "messages.document.filename"]],
  [/\.context$/, ["messages.document", "messages.document.context"]],
  [/\b(image_url|source|inlineData|fileData|input_audio|file|file_id|file_url|file_data)\b/, MEDIA],
  [/\btools(\.filters)?\.allowed_domains$/, ["tools", "tools.web_search.allowedDomains"]],
  [/\btools\..*(parameters|schema|parametersJsonSchema)\b/i, ["tools.parameters", "tools.strict"]],
  [/\b(schema|responseJsonSchema)\b/, ["response_format", "response_format.strict"]],
  [/^(stop|stop_sequences|generationConfig\.stopSequences)$/, ["stop"]],
  [/^(metadata\.user_id|user|safety_identifier)$/, ["user"]],
  [/^prompt_cache_key$/, ["prompt_cache_key"]],
  [/^metadata\./, ["metadata"]],
  [/^messages\.name$/, ["messages.name"]],
];

/** Handles that tie a result to its call: every wire has its own, and the validators see to it that they fit. */
const HANDLE = /\b(id|tool_use_id|tool_call_id|call_id|functionResponse\.name)$/;

/** Where each wire says a setting, and the fields of changes that tell of it. */
const SETTINGS: readonly [fields: readonly string[], paths: readonly string[]][] = [
  [["temperature"], ["temperature", "generationConfig.temperature"]],
  [["top_p"], ["top_p", "generationConfig.topP"]],
  [["top_k"], ["top_k", "generationConfig.topK"]],
  [["seed"], ["seed", "random_seed", "generationConfig.seed"]],
  [["presence_penalty"], ["presence_penalty", "generationConfig.presencePenalty"]],
  [["frequency_penalty"], ["frequency_penalty", "generationConfig.frequencyPenalty"]],
  [["logit_bias"], ["logit_bias"]],
  [["n"], ["n", "generationConfig.candidateCount"]],
  [["max_tokens"], ["max_tokens", "max_completion_tokens", "max_output_tokens", "generationConfig.maxOutputTokens"]],
  [
    ["logprobs", "top_logprobs"],
    ["top_logprobs", "generationConfig.logprobs"],
  ],
  [["service_tier"], ["service_tier", "serviceTier"]],
];

/** What says the same as nothing. */
const DEFAULTS: Record<string, unknown> = { n: 1 };

/** Settings of the caller's body that the other has not, or has otherwise, and no change tells of. */
function settingsLost(body: JsonObject, sent: JsonObject, fields: ReadonlySet<string>): string[] {
  return SETTINGS.flatMap(([names, paths]) => {
    const asked = valueAt(body, paths);
    if (asked === undefined || asked === DEFAULTS[names[0]!] || names.some((name) => fields.has(name))) return [];
    const got = valueAt(sent, paths);
    return JSON.stringify(got) === JSON.stringify(asked) ? [] : [`${names[0]}: ${asked} became ${got}`];
  });
}

/** The bound on the output. */
export function boundOf(body: JsonObject): unknown {
  return valueAt(body, SETTINGS.find(([[name]]) => name === "max_tokens")![1]);
}

function valueAt(body: JsonObject, paths: readonly string[]): unknown {
  const values = paths.map((path) =>
    path.split(".").reduce<unknown>((at, key) => (at as JsonObject | undefined)?.[key], body),
  );
  return values.find((value) => value !== undefined);
}

/** A caller's body, and where its marks stand. */
export interface Said {
  body: JsonObject;
  marks: ReadonlyMap<string, string>;
}

export function saidIn(body: JsonObject): Said {
  return { body, marks: places(body) };
}

/** What of a caller's body is neither in the target's nor named by a change. Knows no codec: it searches for marks. */
export function lostInSilence({ body, marks }: Said, sent: JsonObject, changes: readonly Change[]): string[] {
  const fields = new Set(changes.map(({ field }) => field));
  const there = marksIn(opened(sent));
  const lost = [...marks].flatMap(([mark, place]) => (there.has(mark) ? [] : [place]));
  const untold = lost.filter((place) => {
    const [, excuses] = TOLD.find(([pattern]) => pattern.test(place)) ?? [];
    // A signature stands for the text there, on the part that it was made for (wire.md §9.5).
    if (excuses === THINKING && "contents" in sent) return false;
    return excuses ? !excuses.some((field) => fields.has(field)) : !HANDLE.test(place);
  });
  return [...untold, ...settingsLost(body, sent, fields)];
}

function places(body: unknown): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (value: unknown, path: string): void => {
    if (typeof value === "string") for (const mark of marksIn(opened(value))) found.set(mark, path);
    if (Array.isArray(value)) for (const item of value) walk(item, path);
    else if (typeof value === "object" && value !== null)
      for (const [key, inner] of Object.entries(value)) {
        const at = path === "" ? key : `${path}.${key}`;
        for (const mark of marksIn(key)) found.set(mark, at);
        walk(inner, at);
      }
  };
  walk(body, "");
  return found;
}
