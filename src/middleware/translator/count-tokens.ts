import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { readAll } from "../../core/read-all.ts";
import { JsonBody, type Reply } from "../../core/reply.ts";

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
  const count = provider.dialect.countTokens;
  if (!provider.countsTokens || !provider.operations.has("count-tokens")) return undefined;
  if (!count?.path || !count.encodeRequest || !count.decodeResponse) return undefined;
  const same = provider.passThrough && provider.dialect.id === exchange.dialect.id;
  const headers: Record<string, string> = {};
  if (same) {
    for (const name of exchange.dialect.forwardHeaders) {
      const value = exchange.headers[name];
      if (value !== undefined) headers[name] = value;
    }
  }
  const response = await provider.send({
    method: "POST",
    path: count.path(model),
    headers,
    body: same
      ? exchange.body.splice({ model: JSON.stringify(model) })
      : JSON.stringify(count.encodeRequest(exchange.request, model)),
    onAbort: (abort) => exchange.onAbort(abort),
  });
  const bytes = await readAll(response.body, 64 * 1024);
  return response.status < 300 ? count.decodeResponse(JSON.parse(bytes.toString("utf8"))) : undefined;
}
