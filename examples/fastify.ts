// The gateway under a Fastify 5 route.   node examples/fastify.ts
import Fastify from "fastify";
import { createGateway, router, toNodeHandler, translator } from "turnpike";
import { simulated } from "turnpike/providers";

const gateway = createGateway({
  providers: { simulated: simulated() },
  use: [router({ rules: [{ match: { model: "*" }, to: "simulated/demo" }] }), translator()],
});
const handler = toNodeHandler(gateway, { basePath: "/ai" });

const app = Fastify();
await app.register(async (scope) => {
  // Leave bodies alone in here: the gateway reads them itself, byte for byte.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
  scope.all("/ai/*", (request, reply) => {
    reply.hijack();
    handler(request.raw, reply.raw);
  });
});

const url = await app.listen({ port: 0, host: "127.0.0.1" });
const answer = await fetch(`${url}/ai/anthropic/v1/messages`, {
  method: "POST",
  headers: { "content-type": "application/json", "anthropic-version": "2023-06-01" },
  body: JSON.stringify({ model: "my-model", max_tokens: 100, messages: [{ role: "user", content: "hello" }] }),
});
console.log(answer.status, ((await answer.json()) as { content: { text: string }[] }).content[0]?.text);

await app.close();
await gateway.close();
