// The gateway mounted in an Express 5 application, beside its own routes.   node examples/express.ts
import type { AddressInfo } from "node:net";
import express from "express";
import { createGateway, router, toNodeHandler, translator } from "turnpike";
import { simulated } from "turnpike/providers";

const gateway = createGateway({
  providers: { simulated: simulated() },
  use: [router({ rules: [{ match: { model: "*" }, to: "simulated/demo" }] }), translator()],
});

const app = express();
app.get("/", (_request, response) => void response.send("my own page"));
// A body parser before it is fine, and so is none. Paths that are not the gateway's go on to the next handler.
app.use("/ai", express.json({ limit: "32mb" }), toNodeHandler(gateway));
app.use((_request, response) => void response.status(404).send("my own 404"));

const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const answer = await fetch(`${url}/ai/v1/chat/completions`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "my-model", messages: [{ role: "user", content: "hello" }] }),
});
console.log(
  answer.status,
  ((await answer.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content,
);
console.log(await (await fetch(url)).text(), "|", await (await fetch(`${url}/ai/elsewhere`)).text());

server.close();
await gateway.close();
