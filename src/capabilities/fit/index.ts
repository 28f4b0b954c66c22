import type { Capabilities } from "../../core/provider.ts";
import type { Change, ChatRequest } from "../../core/request.ts";
import { fitMessages } from "./messages.ts";
import { fitOutputFormat } from "./output-format.ts";
import { fitParameters, fitSampling } from "./parameters.ts";
import { fitReasoning } from "./reasoning.ts";
import { SchemaPurse } from "./schema-rules.ts";
import { type FittedTools, fitTools } from "./tools.ts";

export interface FitTarget {
  capabilities: Capabilities;
  /** Dialect id of the target. */
  dialect: string;
  /** Provider type: whose own thinking may be sent back. */
  provider: string;
  /** The upstream's name of the model, for errors. */
  model?: string | undefined;
  /** Output tokens that the budget granted. */
  grantedTokens?: number | undefined;
}

export interface Fitted extends FittedTools {
  request: ChatRequest;
  changes: Change[];
}

/** Working state of one fit; every step edits `request` (a copy) and says so in `changes`. */
export interface FitState extends FitTarget {
  request: ChatRequest;
  changes: Change[];
  purse: SchemaPurse;
}

/**
 * Makes the caller's request acceptable to one target, driven by data, and names every change. Starts from the
 * caller's own request, so each rung of a fallback ladder is fitted anew; the original is not touched.
 *
 * @throws GatewayError `unsupported` where nothing like what was asked for can be had; `ladder` is `next`
 */
export function fit(request: ChatRequest, target: FitTarget): Fitted {
  const state: FitState = { ...target, request: { ...request }, changes: [], purse: new SchemaPurse() };
  fitParameters(state);
  fitReasoning(state);
  fitSampling(state);
  fitOutputFormat(state);
  const tools = fitTools(state);
  fitMessages(state);
  return { request: state.request, changes: state.changes, ...tools };
}
