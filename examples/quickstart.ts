// A gateway in process, on the simulated provider: no key, no network.   node examples/quickstart.ts
import { createGateway, logger, router, translator } from "turnpike";
import { simulated } from "turnpike/providers";

const gateway = createGateway({
  providers: { simulated: simulated() },
  use: [
    logger({ format: "pretty" }),
    router({ rules: [{ match: { model: "*" }, to: "simulated/demo" }] }),
    translator(),
  ],
});

// OpenAI shapes, whatever the provider is.
const answer = await gateway.completion({
  model: "my-model",
  messages: [{ role: "user", content: "hello" }],
});
console.log(answer.choices[0]?.message.content);

// Anthropic shapes, streamed.
const stream = await gateway.messages({
  model: "my-model",
  max_tokens: 200,
  stream: true,
  messages: [{ role: "user", content: "hello again" }],
});
for await (const event of stream) process.stdout.write(event.delta?.text ?? "");
console.log();

await gateway.close();
