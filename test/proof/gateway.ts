/** The gateway of the story: Mistral as long as the cap lasts, then llama-server. */
import { createGateway } from "../../src/gateway/create-gateway.ts";
import { budget } from "../../src/middleware/budget/index.ts";
import { router } from "../../src/middleware/router/index.ts";
import { translator } from "../../src/middleware/translator/index.ts";
import { mistral, openaiCompatible } from "../../src/providers/index.ts";
import { fromText } from "./sizes.ts";
import { type Kind, openStore } from "./stores.ts";

export interface ProofOptions {
  readonly kind: Kind;
  /** File, key prefix or schema. */
  readonly name: string;
  readonly cap: number;
  /** What becomes of the reservations of a process that died. Leases always charge. */
  readonly onExpire: "release" | "charge";
  readonly processes: number;
  readonly upstream: { readonly mistral: string; readonly llama: string };
  /** Life of a reservation whose process died. */
  readonly holdTtlMs: number;
  readonly storeTimeoutMs: number;
  /** A server that is not the usual one. */
  readonly redisUrl?: string | undefined;
}

/** The one model has a second target, the other has not. */
export const MODELS = { ladder: "assistant", single: "assistant-single" } as const;

export function openGateway(options: ProofOptions) {
  const { cap, onExpire, upstream, holdTtlMs, storeTimeoutMs } = options;
  const { store, disconnect } = openStore(options);
  const gateway = createGateway({
    providers: {
      mistral: mistral({ apiKey: "mistral-key", baseURL: upstream.mistral }),
      llama: openaiCompatible({ baseURL: upstream.llama, price: "free" }),
    },
    use: [
      router({
        rules: [
          { match: { model: MODELS.ladder }, to: ["mistral/mistral-medium-3-5", "llama/devstral-small"] },
          { match: { model: MODELS.single }, to: "mistral/mistral-medium-3-5" },
        ],
      }),
      budget({
        store,
        onExpire,
        limits: [{ name: "mistral", match: { provider: "mistral" }, tokens: cap, per: "lifetime" }],
        estimate: (exchange) => fromText(exchange.body.text).inputBound,
        minGrant: 1,
        holdTtlMs,
        storeTimeoutMs,
      }),
      translator(),
    ],
  });
  const close = async () => {
    await gateway.close();
    await disconnect();
  };
  return { gateway, close };
}
