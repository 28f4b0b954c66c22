import { z } from "zod";
import { estimateInput } from "../budget/estimate.ts";
import type { BudgetUsage } from "../budget/report.ts";
import { RequestBody } from "../core/body.ts";
import type { Dialect, ModelInfo, Operation } from "../core/dialect.ts";
import { GatewayError, toGatewayError } from "../core/errors.ts";
import { Exchange, type GatewayServices, type Identity } from "../core/exchange.ts";
import { compose, type Explanation, type Middleware } from "../core/middleware.ts";
import type { Capabilities, Lesson, Provider } from "../core/provider.ts";
import { JsonBody, type Reply } from "../core/reply.ts";
import { isObject, type JsonObject } from "../core/util.ts";
import { anthropicMessages } from "../dialects/anthropic-messages/index.ts";
import { gemini } from "../dialects/gemini/index.ts";
import { openaiChat } from "../dialects/openai-chat/index.ts";
import { openaiResponses } from "../dialects/openai-responses/index.ts";
import type { BudgetMiddleware, TopUp } from "../middleware/budget/index.ts";
import { router } from "../middleware/router/index.ts";
import { translator } from "../middleware/translator/index.ts";
import { priceOf } from "../prices/index.ts";
import { newId } from "./ids.ts";
import { type ChunkStream, readStream } from "./in-process.ts";
import { checkOrder, listModels, planOf } from "./plan.ts";
import { Running } from "./running.ts";
import type {
  AnthropicEvent,
  AnthropicMessage,
  ChatCompletion,
  ChatCompletionChunk,
  EmbeddingList,
  OpenAIResponse,
  OpenAIResponseEvent,
  StreamingShape,
  WholeShape,
} from "./shapes.ts";

const gatewayOptions = z.strictObject({
  providers: z.record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "a name of letters, digits, dot, dash and underscore"),
    z.custom<Provider>(
      (provider) => typeof (provider as Provider | undefined)?.send === "function",
      "a provider, for example simulated()",
    ),
  ),
  use: z
    .array(
      z.custom<Middleware>(
        (middleware) => typeof middleware === "function",
        "a middleware function, for example router()",
      ),
    )
    .optional(),
  timeoutMs: z.int().positive().optional(),
  now: z.custom<() => number>((now) => typeof now === "function", "a function that returns epoch ms").optional(),
});

export interface GatewayOptions {
  /** Where requests can go; the keys are the names that rules and limits use. */
  providers: Record<string, Provider>;
  /** From the outside in. @default [router(), translator()] */
  use?: readonly Middleware[];
  /** Most time for one exchange, all attempts together. @default 600_000 */
  timeoutMs?: number;
  /** Clock, epoch ms; for tests. @default Date.now */
  now?: () => number;
}

/** What a target takes of the requests that callers make. */
export interface TargetCapabilities extends Capabilities {
  /** Type of the provider. */
  provider: string;
  model: string;
  dialect: string;
  /** What its refusals taught, until when. */
  learned: readonly Lesson[];
}

export interface CallOptions {
  /** Whom budgets and rules see. In process the caller is trusted. */
  as?: Identity;
  /** A virtual key, checked as it would be over HTTP. */
  key?: string;
  signal?: AbortSignal;
  timeoutMs?: number;
  /** Request headers that matter to the dialect (`anthropic-beta`). */
  headers?: Record<string, string>;
}

export interface ExplainOptions extends CallOptions {
  /** Wire format of the request. @default "openai-chat" */
  dialect?: string;
  operation?: "chat" | "embeddings" | "count-tokens";
}

/** One request at the gateway's door, whichever surface it came through. */
export interface GatewayRequest {
  dialect: Dialect;
  operation: Operation;
  body: RequestBody;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  trusted: boolean;
  identity?: Identity | undefined;
  timeoutMs?: number | undefined;
}

export interface Gateway {
  /** OpenAI Chat shapes, whatever the provider is. @throws GatewayError */
  completion<T = ChatCompletionChunk>(request: StreamingShape, options?: CallOptions): Promise<ChunkStream<T>>;
  completion<T = ChatCompletion>(request: WholeShape, options?: CallOptions): Promise<T>;
  /** Anthropic Messages shapes, whatever the provider is. @throws GatewayError */
  messages<T = AnthropicEvent>(request: StreamingShape, options?: CallOptions): Promise<ChunkStream<T>>;
  messages<T = AnthropicMessage>(request: WholeShape, options?: CallOptions): Promise<T>;
  /** OpenAI Responses shapes, whatever the provider is. @throws GatewayError */
  responses<T = OpenAIResponseEvent>(request: StreamingShape, options?: CallOptions): Promise<ChunkStream<T>>;
  responses<T = OpenAIResponse>(request: WholeShape, options?: CallOptions): Promise<T>;
  /** OpenAI's embeddings shapes, whatever the provider is. @throws GatewayError */
  embeddings<T = EmbeddingList>(request: WholeShape, options?: CallOptions): Promise<T>;
  /** What a target takes, by the data and by what its refusals taught. @param dialect id; default its main one */
  capabilities(target: string, dialect?: string): TargetCapabilities;
  /** The same door for web-standard servers. */
  fetch(request: Request): Promise<Response>;
  /** Rejects while the gateway is shutting down or a store cannot be reached. @throws GatewayError */
  ready(): Promise<void>;
  /** Models and aliases that callers may ask for. */
  models(): ModelInfo[];
  /** What an identity has used and what remains, for every limit in force on it. */
  usage(identity?: Identity): Promise<BudgetUsage[]>;
  /**
   * Where a request would go and why: every candidate with its price, its limits and the changes that it would need.
   * Nothing is sent, reserved or logged. The middleware before the router runs. @throws GatewayError
   */
  explain(request: Record<string, unknown>, options?: ExplainOptions): Promise<Explanation>;
  /** Adds to a prepaid (`lifetime`) limit, at once. The same id counts once. */
  topUp(payment: TopUp): Promise<void>;
  /** No new requests; waits for running ones up to `drainMs` (default 10 s), then ends them; settles and closes stores. */
  close(options?: { drainMs?: number }): Promise<void>;
  /** For surfaces: who presents these headers, where `use` has an `auth()`. @throws GatewayError `unauthenticated` */
  identify(headers: Exchange["headers"]): Promise<Identity>;
  /** For surfaces: runs one request through the pipeline. The exchange is finished with the error that is thrown. */
  handle(request: GatewayRequest): { exchange: Exchange; reply: Promise<Reply> };
  /** Wire formats that callers may speak. */
  readonly dialects: readonly Dialect[];
  readonly providers: ReadonlyMap<string, Provider>;
  readonly inFlight: number;
}

/** Dialects in which callers may speak. */
const DIALECTS: readonly Dialect[] = [openaiChat, anthropicMessages, openaiResponses, gemini];

/**
 * Builds a gateway: plain middleware composed around provider clients.
 *
 * @throws TypeError when an option is unknown or wrong, a rule or limit names a provider that does not exist, or the
 * middleware cannot work in the order given. The message names the path and what was expected.
 * @example
 * const gateway = createGateway({
 *   providers: { mistral: mistral() },
 *   use: [logger(), router({ rules: [{ match: { model: "*" }, to: "mistral/mistral-medium-3-5" }] }), translator()],
 * });
 */
export function createGateway(given: GatewayOptions): Gateway {
  const parsed = gatewayOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`createGateway: ${z.prettifyError(parsed.error)}`);
  const options = parsed.data;
  const now = options.now ?? Date.now;
  const providers: ReadonlyMap<string, Provider> = new Map(Object.entries(options.providers));
  if (providers.size === 0) throw new TypeError("createGateway: `providers` is empty; give at least one");
  const stack = options.use ?? [router(), translator()];
  checkOrder(stack);
  const plan = planOf(stack, providers, DIALECTS, now);
  for (const middleware of stack) middleware.setup?.(plan);

  const services: GatewayServices = { now, estimateInput: rememberedEstimate, cost: priceOf };
  const run = compose(stack, async () => {
    throw new GatewayError("internal", "No middleware answered: translator() must be the last one in `use`");
  });
  const running = new Running();
  let closing = false;

  function handle(request: GatewayRequest): { exchange: Exchange; reply: Promise<Reply> } {
    const { operation, dialect, body, headers, trusted, identity, timeoutMs } = request;
    const exchange = new Exchange({ id: newId(), operation, dialect, body, headers, services, trusted, identity });
    running.add(exchange, timeoutMs ?? options.timeoutMs ?? 600_000);
    return { exchange, reply: start(exchange) };
  }

  async function start(exchange: Exchange): Promise<Reply> {
    try {
      if (closing) throw new GatewayError("shutting_down", "The gateway is shutting down");
      const reply = await run(exchange);
      // A middleware that answers without a target (a cache) ends the exchange here.
      if (!exchange.winner && reply.body.type === "json") {
        exchange.finish({
          ok: true,
          status: reply.status,
          billable: false,
          totalMs: performance.now() - exchange.startedAt,
        });
      }
      return reply;
    } catch (error) {
      const known = exchange.aborted ?? toGatewayError(error);
      exchange.finish({
        ok: false,
        status: known.status,
        error: known,
        billable: false,
        ...(known.code === "client_closed" && { aborted: true }),
        totalMs: performance.now() - exchange.startedAt,
      });
      throw known;
    }
  }

  async function call(dialect: Dialect, operation: Operation, json: unknown, given: CallOptions = {}) {
    const { as, key, signal, timeoutMs, headers } = given;
    const { exchange, reply } = handle({
      dialect,
      operation,
      body: bodyOf(json),
      headers: headersOf(headers, key),
      trusted: key === undefined,
      identity: as,
      timeoutMs,
    });
    if (signal) abortWith(signal, exchange);
    const { body } = await reply;
    return body.type === "json" ? body.value : readStream(body.source, exchange);
  }

  let closed: Promise<void> | undefined;
  async function close({ drainMs = 10_000 }: { drainMs?: number } = {}): Promise<void> {
    closing = true;
    await running.drain(drainMs);
    for (const middleware of stack) await middleware.close?.();
    for (const provider of providers.values()) await provider.close?.();
  }

  const budgets = () => stack.filter((middleware): middleware is BudgetMiddleware => "topUp" in middleware);

  const gateway: Gateway = {
    completion: ((request: JsonObject, options?: CallOptions) =>
      call(openaiChat, "chat", request, options)) as Gateway["completion"],
    messages: ((request: JsonObject, options?: CallOptions) =>
      call(anthropicMessages, "chat", request, options)) as Gateway["messages"],
    responses: ((request: JsonObject, options?: CallOptions) =>
      call(openaiResponses, "chat", request, options)) as Gateway["responses"],
    embeddings: ((request: JsonObject, options?: CallOptions) =>
      call(openaiChat, "embeddings", request, options)) as Gateway["embeddings"],
    capabilities(name, dialect) {
      const slash = name.indexOf("/");
      const providerName = name.slice(0, slash);
      const model = name.slice(slash + 1);
      const provider = providers.get(providerName);
      if (!provider) throw new TypeError(`gateway.capabilities: "${name}" is not a known provider/model`);
      const spoken = dialect ?? provider.dialect.id;
      const learned = stack.flatMap((each) => each.learned?.(plan.target(providerName, model), spoken) ?? []);
      return { ...provider.capabilities(model, spoken), provider: provider.type, model, dialect: spoken, learned };
    },
    async fetch(request) {
      fetchHandler ??= (await import("../http/fetch-handler.ts")).toFetchHandler(gateway);
      return fetchHandler(request);
    },
    async ready() {
      if (closing) throw new GatewayError("shutting_down", "The gateway is shutting down");
      try {
        await Promise.all(stack.map((middleware) => middleware.ready?.()));
      } catch (error) {
        throw new GatewayError("budget_unavailable", "A store cannot be reached", { cause: error });
      }
    },
    models: () => listModels(providers, stack),
    async usage(identity = {}) {
      return (await Promise.all(budgets().map((budget) => budget.usage(identity)))).flat();
    },
    async explain(request, { dialect: id = openaiChat.id, operation = "chat", as, key, headers } = {}) {
      const dialect = DIALECTS.find((each) => each.id === id);
      if (!dialect) throw new TypeError(`gateway.explain: unknown dialect "${id}"`);
      const place = stack.findIndex((middleware) => middleware.explain);
      if (place === -1) throw new TypeError("gateway.explain: there is no router() in `use`");
      // It never finishes: whatever counts or logs waits for the end of an exchange.
      const exchange = new Exchange({
        id: newId(),
        operation,
        dialect,
        body: bodyOf(request),
        headers: headersOf(headers, key),
        services,
        trusted: key === undefined,
        ...(as && { identity: as }),
      });
      let explanation: Explanation | undefined;
      const before = stack.slice(0, place).filter(({ id }) => id !== "cache");
      const reply = { status: 200, headers: {}, body: new JsonBody({ value: {} }) };
      await compose(before, async (asked) => {
        explanation = await stack[place]!.explain!(asked);
        return reply;
      })(exchange);
      if (!explanation) throw new GatewayError("no_target", "A middleware before the router answers by itself");
      return explanation;
    },
    async topUp(payment) {
      const budget = budgets()[0];
      if (!budget) throw new TypeError("gateway.topUp: there is no budget() in `use`");
      await budget.topUp(payment);
    },
    close: (options) => {
      closed ??= close(options);
      return closed;
    },
    handle,
    async identify(headers) {
      return (await stack.find((middleware) => middleware.identify)?.identify?.(headers)) ?? {};
    },
    dialects: DIALECTS,
    providers,
    get inFlight() {
      return running.size;
    },
  };
  let fetchHandler: ((request: Request) => Promise<Response>) | undefined;
  return gateway;
}

function headersOf(headers: CallOptions["headers"] = {}, key: string | undefined): Exchange["headers"] {
  return key === undefined ? headers : { ...headers, authorization: `Bearer ${key}` };
}

function abortWith(signal: AbortSignal, exchange: Exchange): void {
  const abort = () => exchange.abort(new GatewayError("client_closed", "The caller aborted", { cause: signal.reason }));
  if (signal.aborted) return abort();
  signal.addEventListener("abort", abort, { once: true });
  exchange.onFinish(() => signal.removeEventListener("abort", abort));
}

/** A request object as it would have come over HTTP. @throws GatewayError `invalid_request` */
function bodyOf(json: unknown): RequestBody {
  if (!isObject(json)) throw new GatewayError("invalid_request", "The request must be an object");
  try {
    return new RequestBody({ bytes: Buffer.from(JSON.stringify(json)) });
  } catch (error) {
    throw new GatewayError("invalid_request", `The request cannot be written as JSON: ${(error as Error).message}`);
  }
}

/** Asked for by budget, codec and meter; made once per request. */
function rememberedEstimate(exchange: Exchange): number {
  exchange.body.estimatedTokens ??= estimateInput(exchange);
  return exchange.body.estimatedTokens;
}
