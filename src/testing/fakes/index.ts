export { fakeAnthropic, validateAnthropic } from "./anthropic.ts";
export type { Answer, Behaviour, Fault, FinishReason, Script, Timing } from "./behaviour.ts";
export { fakeGemini, validateGemini } from "./gemini.ts";
export { type FakeLlamaOptions, fakeLlama } from "./llama.ts";
export { fakeMistral, validateMistral } from "./mistral.ts";
export {
  fakeOpenAI,
  validateOpenAI,
  validateOpenAIEmbeddings,
  validateOpenAIResponses,
} from "./openai.ts";
export {
  type Fake,
  type FakeOptions,
  type FakeRequest,
  type Reply,
  startFake,
  type ValidatorRefusal,
  type Wire,
} from "./server.ts";
export type { Frame, FrameStream, SseOptions } from "./sse.ts";
