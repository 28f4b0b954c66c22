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
}

/** Holds of a killed process come back after this. */
export const HOLD_TTL_MS = 4_000;

export function openGateway({ kind, name, cap, onExpire, processes, upstream }: ProofOptions) {
  const { store, disconnect } = openStore(kind, name, processes);
  const gateway = createGateway({
    providers: {
      mistral: mistral({ apiKey: "mistral-key", baseURL: upstream.mistral }),
      llama: openaiCompatible({ baseURL: upstream.llama, price: "free" }),
    },
    use: [
      router({
        rules: [{ match: { model: "assistant" }, to: ["mistral/mistral-medium-3-5", "llama/devstral-small"] }],
      }),
      budget({
        // The middleware has no option for it yet.
        store: { ...store, reserve: (request) => store.reserve({ ...request, onExpire }) },
        limits: [{ name: "mistral", match: { provider: "mistral" }, tokens: cap, per: "lifetime" }],
        estimate: (exchange) => fromText(exchange.body.bytes.toString()).inputBound,
        minGrant: 1,
        holdTtlMs: HOLD_TTL_MS,
        // The machine may be busy with other things: slow is not what is tested here.
        storeTimeoutMs: 10_000,
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
