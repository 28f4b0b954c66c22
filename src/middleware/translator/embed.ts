import type { Dialect } from "../../core/dialect.ts";
import type { EmbeddingRequest, EmbeddingResponse } from "../../core/embeddings.ts";
import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { CallBody } from "../../core/provider.ts";
import { JsonBody, type Reply } from "../../core/reply.ts";
import { parse, readAnswer } from "./json.ts";
import { Meter } from "./meter.ts";
import { namesModelInside, passesThrough } from "./prepare.ts";
import { send } from "./send.ts";

type Codec = NonNullable<Dialect["embeddings"]>;

/** A thousand vectors of 4,096 numbers, written in full. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;

/** Texts → vectors, in the caller's dialect, whichever of its dialects the target makes embeddings in. */
export async function embed(exchange: Exchange): Promise<Reply> {
  const { provider, model } = exchange.target!;
  const caller = exchange.dialect.embeddings!;
  const speaking = provider.dialects.filter(({ embeddings }) => embeddings);
  const upstream = speaking.find(({ id }) => id === exchange.dialect.id) ?? speaking[0];
  if (!upstream) {
    throw new GatewayError("no_target", `${exchange.target!.name} makes no embeddings`, { ladder: "next" });
  }
  exchange.speak(upstream);
  const codec = upstream.embeddings!;
  const request = caller.decodeRequest(exchange.body.json, exchange.body.path);
  const same = passesThrough(exchange) && !namesModelInside(exchange);
  const response = await send(exchange, {
    path: codec.path(request, model),
    body: same ? sameBody(exchange, model) : written(exchange, codec, request, model),
  });
  const meter = new Meter(exchange, response.status);
  const bytes = await readAnswer(response, meter, MAX_ANSWER_BYTES);
  const value = parse(bytes.toString(), meter);
  const answer = decoded(codec, value, request, meter);
  meter.told(usageOf(answer, exchange), answer.model);
  meter.finish();
  if (same) return { status: 200, headers: {}, body: new JsonBody({ bytes, value }) };
  return {
    status: 200,
    headers: {},
    body: new JsonBody({ value: caller.encodeResponse(answer, request, exchange.body.model) }),
  };
}

function sameBody({ body, dialect }: Exchange, model: string): CallBody {
  return body.model === model || dialect.modelInPath ? body.pieces : body.splice({ model: JSON.stringify(model) });
}

/** The request in another dialect; what only the caller's own knows is named. */
function written(exchange: Exchange, codec: Codec, request: EmbeddingRequest, model: string): string {
  const foreign = ({ dialect }: { dialect: string }) => dialect !== exchange.upstreamDialect.id;
  const { task, extensions, ...rest } = request;
  for (const field of Object.keys(extensions && foreign(extensions) ? extensions.value : {}))
    exchange.changes.push({ field: field.slice(0, 64), kind: "ignored" });
  if (task && foreign(task))
    exchange.changes.push({ field: "task_type", kind: "dropped", from: task.value.slice(0, 40) });
  const { parameters } = exchange.target!.provider.capabilities(model, exchange.upstreamDialect.id);
  if (rest.userId !== undefined && parameters?.userId === false)
    exchange.changes.push({ field: "user", kind: "ignored" });
  const fitted = {
    ...rest,
    ...(task && !foreign(task) && { task }),
    ...(extensions && !foreign(extensions) && { extensions }),
  };
  return JSON.stringify(codec.encodeRequest(fitted, model));
}

function decoded(codec: Codec, value: unknown, { inputs }: EmbeddingRequest, meter: Meter): EmbeddingResponse {
  try {
    const answer = codec.decodeResponse(value);
    if (answer.vectors.length === inputs.length) return answer;
  } catch (error) {
    throw meter.broken(error as Error);
  }
  throw meter.broken(
    new GatewayError("upstream_invalid", "The upstream answered another number of vectors than asked"),
  );
}

function usageOf({ inputTokens }: EmbeddingResponse, exchange: Exchange) {
  return {
    inputTokens: inputTokens ?? exchange.services.estimateInput(exchange),
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    ...(inputTokens === undefined && { estimated: true }),
  };
}
