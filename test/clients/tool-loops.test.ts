import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type House, type Json, MODELS, openHouse, sentTo, startUpstreams } from "./support.ts";

/** Tools that only one dialect has, called, executed and answered by its own SDK against other vendors' models. */

let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
let house: House;

beforeAll(async () => {
  upstreams = await startUpstreams();
  house = await openHouse(upstreams);
});
afterEach(() => upstreams.reset());
afterAll(async () => {
  await house.close();
  await upstreams.closeAll();
});

const chat = () => new OpenAI({ apiKey: "k", baseURL: `${house.url}/v1`, maxRetries: 0 });
const messages = () => new Anthropic({ apiKey: "k", baseURL: `${house.url}/anthropic`, maxRetries: 0 });

describe("a custom tool of the OpenAI SDK", () => {
  const input = 'UPDATE t SET a = "é\n😀" -- done';
  const tools: OpenAI.ChatCompletionTool[] = [{ type: "custom", custom: { name: "sql", description: "Runs SQL." } }];
  const asked: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Count." }];
  const call = { id: expect.any(String), type: "custom", custom: { name: "sql", input } };
  const targets = ["anthropic", "mistral"] as const;

  test.each(targets)("is called, executed and answered at %s", async (name) => {
    const upstream = upstreams[name];
    upstream.next({ toolCalls: [{ name: "sql", arguments: { input } }] }, { text: "Three." });
    const first = await chat().chat.completions.create({ model: MODELS[name], messages: asked, tools });
    const { message, finish_reason } = first.choices[0]!;
    expect(finish_reason).toBe("tool_calls");
    expect(message.tool_calls).toEqual([call]);

    const result = { role: "tool" as const, tool_call_id: message.tool_calls![0]!.id, content: "3" };
    const second = await chat().chat.completions.create({
      model: MODELS[name],
      messages: [...asked, message, result],
      tools,
      tool_choice: { type: "custom", custom: { name: "sql" } },
    });
    expect(second.choices[0]!.message.content).toBe("Three.");
    const [, said] = sentTo(upstream).messages;
    const replayed = said.tool_calls?.[0].function.arguments ?? JSON.stringify(said.content[0].input);
    expect(JSON.parse(replayed)).toEqual({ input });
  });

  test.each(targets)("streams from %s", async (name) => {
    upstreams[name].next({ toolCalls: [{ name: "sql", arguments: { input } }] });
    const stream = chat().chat.completions.stream({ model: MODELS[name], messages: asked, tools });
    const [choice] = (await stream.finalChatCompletion()).choices;
    expect(choice!.finish_reason).toBe("tool_calls");
    expect(choice!.message.tool_calls).toMatchObject([call]);
  });

  test("is still a call where the model did not write what was asked of it", async () => {
    upstreams.anthropic.next({ toolCalls: [{ name: "sql", arguments: { query: "SELECT 1" } }] });
    const answer = await chat().chat.completions.create({ model: MODELS.anthropic, messages: asked, tools });
    expect(answer.choices[0]!.message.tool_calls).toMatchObject([
      { custom: { name: "sql", input: '{"query":"SELECT 1"}' } },
    ]);
  });
});

describe("the text editor of the Anthropic SDK", () => {
  const tools: Anthropic.ToolUnion[] = [{ type: "text_editor_20250728", name: "str_replace_based_edit_tool" }];
  const view = { command: "view", path: "/repo/a.ts" };
  const edit = { command: "str_replace", path: "/repo/a.ts", old_str: "1", new_str: "2" };
  const files = new Map([["/repo/a.ts", "const a = 1;"]]);

  /** What a client's editor does. */
  function execute(command: Json): string {
    const before = files.get(command.path)!;
    if (command.command === "view") return before;
    files.set(command.path, before.replace(command.old_str, command.new_str));
    return "edited";
  }

  test.each(["mistral", "openai", "anthropic"] as const)("views and edits a file with a model of %s", async (name) => {
    files.set("/repo/a.ts", "const a = 1;");
    const script = [view, edit].map((command) => ({
      toolCalls: [{ name: "str_replace_based_edit_tool", arguments: command }],
    }));
    upstreams[name].next(...script, { text: "Done." });
    const conversation: Anthropic.MessageParam[] = [{ role: "user", content: "Make it two." }];
    for (let turn = 0; turn < 3; turn++) {
      const request = { model: MODELS[name], max_tokens: 500, tools, messages: conversation };
      const answer =
        turn === 1
          ? await messages().messages.stream(request).finalMessage()
          : await messages().messages.create(request);
      conversation.push({ role: "assistant", content: answer.content });
      const calls = answer.content.filter((block) => block.type === "tool_use");
      expect(answer.stop_reason).toBe(turn < 2 ? "tool_use" : "end_turn");
      if (calls.length > 0)
        conversation.push({
          role: "user",
          content: calls.map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: execute(input) })),
        });
    }
    expect(files.get("/repo/a.ts")).toBe("const a = 2;");
    const [tool] = sentTo(upstreams[name]).tools;
    if (name === "anthropic") expect(tool).toEqual(tools[0]);
    else expect((tool.function ?? tool).parameters.properties.command.enum).toContain("str_replace");
    const { messages: said, input } = sentTo(upstreams[name]);
    expect(said ?? input).toHaveLength(5);
  });

  test("a computer is refused before anybody is asked", async () => {
    const computer = {
      type: "computer_20250124",
      name: "computer",
      display_width_px: 1,
      display_height_px: 1,
    } as unknown as Anthropic.ToolUnion;
    const request = {
      model: MODELS.mistral,
      max_tokens: 50,
      tools: [computer],
      messages: [{ role: "user" as const, content: "x" }],
    };
    await expect(messages().messages.create(request)).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining("computer_20250124"),
    });
    expect(upstreams.mistral.requests).toHaveLength(0);
  });
});

test("Claude Code's own search request is answered where nothing can search", async () => {
  upstreams.llama.next({ text: "I cannot search the web here." });
  const answer = await messages().messages.create({
    model: MODELS.llama,
    max_tokens: 500,
    tools: [{ type: "web_search_20250305", name: "web_search", max_uses: 8 }],
    tool_choice: { type: "tool", name: "web_search" },
    messages: [{ role: "user", content: "Perform a web search for the query: x" }],
  });
  expect(answer.content).toMatchObject([{ type: "text", text: "I cannot search the web here." }]);
  expect(answer.usage.server_tool_use).toMatchObject({ web_search_requests: 0 });
  expect(JSON.stringify(sentTo(upstreams.llama).messages)).toContain("Web search is not available here");
});

test("Chat's web_search_options are a search for a model that can", async () => {
  upstreams.anthropic.next({ text: "Found." });
  const user_location = { type: "approximate" as const, approximate: { city: "Paris" } };
  await chat().chat.completions.create({
    model: MODELS.anthropic,
    messages: [{ role: "user", content: "News?" }],
    web_search_options: { search_context_size: "low", user_location },
  });
  expect(sentTo(upstreams.anthropic).tools).toEqual([
    { type: "web_search_20250305", name: "web_search", user_location: { type: "approximate", city: "Paris" } },
  ]);
});

test("several answers of a model that gives one are refused in the caller's own words", async () => {
  const request = { model: MODELS.anthropic, n: 2, messages: [{ role: "user" as const, content: "x" }] };
  await expect(chat().chat.completions.create(request)).rejects.toMatchObject({
    status: 400,
    param: "n",
    message: expect.stringContaining("n must be 1 for anthropic/claude-haiku-5-5"),
  });
});
