import { RequestBody } from "../../core/body.ts";
import type { VectorIndex } from "../../core/cache-store.ts";
import type { Dialect } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { GatewayPlan, Next } from "../../core/middleware.ts";
import { newTarget, type Target } from "../../core/provider.ts";
import type { Entry } from "./entry.ts";
import type { Near } from "./flight.ts";
import { Guard } from "./guard.ts";
import type { SemanticOptions } from "./options.ts";

/** One question on its way through the semantic cache. */
export interface Question {
  /** Hash of everything but the question: only questions of the same one are compared. */
  partition: string;
  text: string;
}

export interface Semantic {
  readonly failures: number;
  /** @throws TypeError when the embeddings cannot come from where they should */
  setup(plan: GatewayPlan): void;
  /** Undefined where no vector was to be had. */
  vectorOf(exchange: Exchange, next: Next, text: string): Promise<Float32Array | undefined>;
  /** @param read the entry of a key, if it may be used */
  find(
    exchange: Exchange,
    question: Question,
    vector: Float32Array,
    read: (key: string) => Promise<Entry | undefined>,
  ): Promise<Near | undefined>;
  add(exchange: Exchange, question: Question, vector: Float32Array, key: string, ttlMs: number): Promise<void>;
}

export function semantic(options: SemanticOptions, index: VectorIndex, storeTimeoutMs: number): Semantic {
  const { embed, threshold, verify } = options;
  const vectors = new Guard("vectors", storeTimeoutMs);
  // One caller's spent budget or clumsy question is nobody else's: no rest.
  const embedding = new Guard("embedding", options.timeoutMs + 100, 0);
  const verifying = new Guard("verify", options.timeoutMs, 0);
  let target: Target | undefined;
  let dialect: Dialect | undefined;

  function setup({ providers }: GatewayPlan): void {
    const slash = embed.indexOf("/");
    const providerName = embed.slice(0, slash);
    const provider = providers.get(providerName);
    if (!provider) {
      throw new TypeError(
        `cache.semantic.embed: unknown provider "${providerName}"; known: ${[...providers.keys()].join(", ")}`,
      );
    }
    dialect = provider.dialects.find(({ embeddings }) => embeddings);
    if (!dialect || !provider.operations.has("embeddings")) {
      throw new TypeError(`cache.semantic.embed: provider "${providerName}" is not asked for embeddings`);
    }
    target = newTarget(providerName, provider, embed.slice(slash + 1));
  }

  /** Through the rest of the pipeline, so that policies, budgets and the log see it like any request of its caller's. */
  async function ask(exchange: Exchange, next: Next, text: string): Promise<Float32Array | undefined> {
    const codec = dialect!.embeddings!;
    const json = codec.encodeRequest({ model: embed, inputs: [text] }, embed);
    const side = exchange.side({
      id: `${exchange.id}e`,
      operation: "embeddings",
      dialect: dialect!,
      body: new RequestBody({ json }, { model: embed, stream: false }),
      headers: {},
    });
    side.target = target;
    exchange.onAbort((reason) => side.abort(reason));
    const late = new GatewayError("timeout", "The embedding of the question took too long");
    const timer = setTimeout(() => side.abort(late), options.timeoutMs);
    try {
      const { body } = await next(side);
      if (body.type !== "json") return undefined;
      return unit(codec.decodeResponse(body.value).vectors[0] ?? []);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    get failures() {
      return vectors.failures + embedding.failures + verifying.failures;
    },
    setup,
    vectorOf: async (exchange, next, text) => embedding.call(exchange, () => ask(exchange, next, text), undefined),
    async find(exchange, { partition, text }, vector, read) {
      const match = await vectors.call(exchange, () => index.search(partition, vector, threshold), undefined);
      if (!match) return undefined;
      const entry = await read(match.id);
      if (!entry) return undefined;
      const agreed = verify ? await verifying.call(exchange, () => verify(text, match.question), false) : true;
      return agreed ? { entry, similarity: match.similarity } : undefined;
    },
    async add(exchange, { partition, text: question }, vector, id, ttlMs) {
      await vectors.call(exchange, () => index.add({ partition, id, vector, question }, ttlMs), undefined);
    },
  };
}

/** Made length 1; undefined where it has no direction. */
function unit(numbers: readonly number[]): Float32Array | undefined {
  const length = Math.sqrt(numbers.reduce((sum, each) => sum + each * each, 0));
  return length > 0 && Number.isFinite(length) ? Float32Array.from(numbers, (each) => each / length) : undefined;
}
