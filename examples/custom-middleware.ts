// A middleware is a plain function.   node examples/custom-middleware.ts
import { createGateway, GatewayError, type Middleware, router, translator } from "turnpike";
import { simulated } from "turnpike/providers";

/** Refuses prompts that hold a forbidden word; stands before the router, so it runs once per request. */
function forbid(word: string): Middleware {
  return async (exchange, next) => {
    const texts = exchange.request.messages.flatMap((message) =>
      message.content.map((part) => (part.type === "text" ? part.text : "")),
    );
    if (texts.some((text) => text.includes(word))) {
      throw new GatewayError("forbidden", `Prompts must not mention "${word}"`);
    }
    return next(exchange);
  };
}

/** Measures each attempt; stands after the router, so `onFinish` is the attempt's own, and it is called exactly once. */
const stopwatch: Middleware = async (exchange, next) => {
  exchange.onFinish(({ ok, usage, totalMs }) => {
    console.log(
      `attempt ${exchange.attempt}: ${ok ? "ok" : "failed"}, ${usage?.outputTokens ?? 0} tokens out, ${totalMs > 0 ? "timed" : "untimed"}`,
    );
  });
  return next(exchange);
};

const gateway = createGateway({
  providers: { simulated: simulated() },
  use: [
    forbid("password"),
    router({ rules: [{ match: { model: "*" }, to: "simulated/demo" }] }),
    stopwatch,
    translator(),
  ],
});

const ask = (content: string) => gateway.completion({ model: "m", messages: [{ role: "user", content }] });
await ask("hello");
await ask("what is the password?").catch((error: GatewayError) => console.log(`${error.code}: ${error.message}`));
await gateway.close();
