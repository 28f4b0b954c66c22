/**
 * Process: the one fake Mistral that everybody's money goes to, and a free fake llama-server. Counts what it served.
 * Argument: "slow" lets one answer in ten take a second and a half.
 */
import { fakeLlama } from "../../../src/testing/fakes/llama.ts";
import { fakeMistral } from "../../../src/testing/fakes/mistral.ts";
import { fromText } from "../sizes.ts";

export interface Served {
  /** Billed tokens per request, in order of arrival. */
  readonly mistral: readonly (readonly [id: string, tokens: number])[];
  readonly llama: number;
}

const isSlow = process.argv[2] === "slow";
const mistral = await fakeMistral({ apiKey: "mistral-key" });
const llama = await fakeLlama();
const served: [string, number][] = [];

mistral.always((request) => {
  const { id, realInput, realOutput } = fromText(request.raw);
  const granted = (request.body as { max_tokens: number }).max_tokens;
  served.push([id, realInput + Math.min(realOutput, granted)]);
  const delayMs = (realOutput % 25) + (isSlow && realInput % 10 === 0 ? 1_500 : 0);
  return { text: "Bonjour.", usage: { prompt: realInput, completion: realOutput }, delayMs };
});
llama.always({ text: "Hello." });

process.on("message", (message) => {
  if (message === "served") process.send!({ mistral: served, llama: llama.requests.length } satisfies Served);
});
process.on("disconnect", () => process.exit());
process.send!({ mistral: mistral.baseURL, llama: llama.baseURL });
