import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CLAUDE, type House, MISTRAL, openHouse, startUpstreams, type Upstreams } from "./support.ts";

let upstreams: Upstreams;
let house: House;
let chat: OpenAI;
let claude: Anthropic;
beforeAll(async () => {
  upstreams = await startUpstreams();
});
beforeEach(async () => {
  upstreams.reset();
  await house?.close();
  house = await openHouse(upstreams, {
    keys: [{ id: "k", key: "virtual-key-1" }],
    cache: { temperature: "any", toolCalls: true },
  });
  chat = new OpenAI({ baseURL: `${house.url}/v1`, apiKey: "virtual-key-1", maxRetries: 0 });
  claude = new Anthropic({ baseURL: house.url, apiKey: "virtual-key-1", maxRetries: 0 });
});
afterAll(async () => {
  await house.close();
  await upstreams.close();
});

const asked = () => upstreams.anthropic.requests.length + upstreams.mistral.requests.length;
const schema = { type: "object" as const, properties: { city: { type: "string" } }, required: ["city"] };
const anthropicTools = [{ name: "get_weather", description: "Weather", input_schema: schema }];
const chatTools = [
  { type: "function" as const, function: { name: "get_weather", description: "Weather", parameters: schema } },
];
const SAYS = { text: "Let me look, “dear” — 天気.", toolCalls: [{ name: "get_weather", arguments: { city: "Brno" } }] };
const request = (model: string) => ({
  ...{ model, max_tokens: 300 },
  messages: [{ role: "user" as const, content: `The weather, ${model}?` }],
});

/** The same answer, from each official client, whole and streamed. */
const CLIENTS = {
  async "OpenAI SDK, whole"(model: string) {
    const { choices } = await chat.chat.completions.create({ ...request(model), tools: chatTools });
    return chatAnswer(choices[0]!);
  },
  async "OpenAI SDK, streamed"(model: string) {
    const { choices } = await chat.chat.completions
      .stream({ ...request(model), tools: chatTools })
      .finalChatCompletion();
    return chatAnswer(choices[0]!);
  },
  async "Anthropic SDK, whole"(model: string) {
    return claudeAnswer(await claude.messages.create({ ...request(model), tools: anthropicTools }));
  },
  async "Anthropic SDK, streamed"(model: string) {
    return claudeAnswer(await claude.messages.stream({ ...request(model), tools: anthropicTools }).finalMessage());
  },
};

function chatAnswer({ message, finish_reason }: OpenAI.ChatCompletion.Choice) {
  const [call] = message.tool_calls ?? [];
  const { name, arguments: given } = call?.type === "function" ? call.function : { name: "", arguments: "{}" };
  return { text: message.content, name, input: JSON.parse(given), id: call?.id, calls: finish_reason === "tool_calls" };
}

function claudeAnswer({ content, stop_reason }: Anthropic.Message) {
  const text = content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
  const call = content.find((block) => block.type === "tool_use");
  return { text, name: call?.name, input: call?.input, id: call?.id, calls: stop_reason === "tool_use" };
}

const names = Object.keys(CLIENTS) as (keyof typeof CLIENTS)[];
describe.each([CLAUDE, MISTRAL])("an answer of %s", (model) => {
  describe.each(names)("that was stored for the %s", (first) => {
    test.each(names)("is right for the %s", async (second) => {
      (model === CLAUDE ? upstreams.anthropic : upstreams.mistral).next(SAYS);
      const stored = await CLIENTS[first](model);
      const replayed = await CLIENTS[second](model);
      expect(replayed).toEqual({ ...stored, id: replayed.id });
      expect(replayed).toMatchObject({ text: SAYS.text, name: "get_weather", input: { city: "Brno" }, calls: true });
      expect(replayed.id).toMatch(/\w{9}/);
      expect(asked()).toBe(1);
      expect(house.stats()).toMatchObject({ hits: 1, misses: 1 });
    });
  });
});

test("thinking is replayed with its signature, so that the conversation can go on", async () => {
  const thinking = {
    ...{ model: CLAUDE, max_tokens: 2_000, thinking: { type: "enabled" as const, budget_tokens: 1_024 } },
    messages: [{ role: "user" as const, content: "Think." }],
  };
  const bold = await openHouse(upstreams, { cache: { temperature: "any" } });
  const client = new Anthropic({ baseURL: bold.url, apiKey: "virtual-key-1", maxRetries: 0 });
  upstreams.anthropic.next({ thinking: "Two and two.", text: "Four." });
  const first = await client.messages.stream(thinking).finalMessage();
  const second = await client.messages.create(thinking);
  expect(second.content).toEqual(first.content);
  expect(second.content[0]).toMatchObject({
    type: "thinking",
    thinking: "Two and two.",
    signature: expect.any(String),
  });
  expect(bold.stats().hits).toBe(1);
  await bold.close();
});
