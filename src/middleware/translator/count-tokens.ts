import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { readAll } from "../../core/read-all.ts";
import { JsonBody, type Reply } from "../../core/reply.ts";
import { fitFor, namesModelInside, passesThrough } from "./prepare.ts";
import { send } from "./send.ts";

/** Asks the provider where it can count; else estimates. Never a paid call. */
export async function countTokens(exchange: Exchange): Promise<Reply> {
  const count = exchange.dialect.countTokens;
  if (!count) throw new GatewayError("not_found", "This dialect has no token counting");
  const told = await askProvider(exchange).catch(() => undefined);
  const inputTokens = told ?? exchange.services.estimateInput(exchange);
  if (told === undefined) exchange.responseHeaders["x-turnpike-estimated"] = "true";
  exchange.finish({ ok: true, status: 200, billable: false, totalMs: performance.now() - exchange.startedAt });
  return { status: 200, headers: {}, body: new JsonBody({ value: count.encodeResponse(inputTokens) }) };
}

async function askProvider(exchange: Exchange): Promise<number | undefined> {
  const { provider, model } = exchange.target!;
  const upstream = provider.countDialect;
  const count = upstream?.countTokens;
  if (!upstream || !provider.operations.has("count-tokens")) return undefined;
  if (!count?.path || !count.encodeRequest || !count.decodeResponse) return undefined;
  exchange.speak(upstream);
  const body =
    passesThrough(exchange) && !namesModelInside(exchange)
      ? exchange.body.splice(upstream.modelInPath ? {} : { model: JSON.stringify(model) })
      : JSON.stringify(count.encodeRequest(fitFor(exchange).request, model));
  const response = await send(exchange, { path: count.path(model), body });
  const bytes = await readAll(response.body, 64 * 1024);
  return count.decodeResponse(JSON.parse(bytes.toString("utf8")));
}
