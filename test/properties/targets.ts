import type { Dialect } from "../../src/core/dialect.ts";
import type { Provider } from "../../src/core/provider.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropic, gemini, mistral, openai, openaiCompatible } from "../../src/providers/index.ts";
import {
  validateAnthropic,
  validateGemini,
  validateMistral,
  validateOpenAI,
  validateOpenAIResponses,
} from "../../src/testing/index.ts";

export interface Target {
  name: string;
  provider: Provider;
  dialect: Dialect;
  models: readonly string[];
  /** What the provider would answer, if it would not take the body. */
  refusal(body: JsonObject, model: string): unknown;
}

const openAI = openai({ apiKey: "key" });
const [chat, responses] = openAI.dialects as [Dialect, Dialect];

export const TARGETS: readonly Target[] = [
  target("mistral", mistral({ apiKey: "key" }), (body) => validateMistral(body), [
    ...["mistral-medium-3-5", "mistral-small-latest", "mistral-large-4", "mistral-large-latest", "zai-glm-5"],
    ...["magistral-medium-latest", "devstral-small-latest", "codestral-latest", "ministral-8b-latest"],
  ]),
  target("openai chat", openAI, (body) => validateOpenAI(body), [
    // Not gpt-5.6: whoever asks it for tools and reasoning is sent to Responses.
    ...["gpt-4.1", "gpt-4o", "gpt-5.5", "gpt-5.1", "gpt-5-mini", "gpt-6-astra", "o3", "o4-mini"],
  ]),
  target(
    "openai responses",
    openAI,
    (body) => validateOpenAIResponses(body, { foreign: true }),
    [...["gpt-4.1", "gpt-5.5", "gpt-5.6", "gpt-5.1", "gpt-5-mini", "gpt-6-sol", "gpt-6-astra", "o3"]],
    responses,
  ),
  target("anthropic", anthropic({ apiKey: "key" }), (body) => validateAnthropic(body), [
    ...["claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5", "claude-opus-5"],
    ...["claude-sonnet-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-sonnet-4-6"],
    ...["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1", "claude-3-5-haiku-20241022"],
  ]),
  target("gemini", gemini({ apiKey: "key" }), geminiRefusal, [
    ...["gemini-2.5-pro", "gemini-2.5-flash", "gemini-3-pro-preview", "gemini-3-flash-preview", "gemini-4-hydrogen"],
  ]),
  // What every such server takes is what the first one takes, but for `top_k` and the number of stop sequences.
  target(
    "openai-compatible",
    openaiCompatible({ baseURL: "http://127.0.0.1:8081/v1" }),
    ({ top_k: _, stop: __, ...body }) => validateOpenAI({ ...body, model: "gpt-4o-audio-preview" }),
    ["devstral-small"],
  ),
];

/** Which of the models take penalties and give several answers, only they know: that stays theirs to refuse. */
function geminiRefusal(body: JsonObject, model: string): unknown {
  const {
    candidateCount: _,
    presencePenalty: __,
    frequencyPenalty: ___,
    ...generationConfig
  } = (body.generationConfig ?? {}) as JsonObject;
  return validateGemini(model, { ...body, generationConfig }, { foreign: true });
}

function target(
  name: string,
  provider: Provider,
  refusal: Target["refusal"],
  models: readonly string[],
  dialect: Dialect = provider.dialect,
): Target {
  return { name, provider, refusal, models, dialect: dialect ?? chat };
}
