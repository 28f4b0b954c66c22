import type { Capabilities } from "../../core/provider.ts";
import type { Change, ChatRequest } from "../../core/request.ts";
import { fitMessages } from "./messages.ts";
import { fitParameters, fitSampling } from "./parameters.ts";
import { fitReasoning } from "./reasoning.ts";
import { fitTools } from "./tools.ts";

export interface FitTarget {
  capabilities: Capabilities;
  /** Dialect id of the target. */
  dialect: string;
  /** Provider type: whose own thinking may be sent back. */
  provider: string;
  /** Output tokens that the budget granted. */
  grantedTokens?: number | undefined;
}

export interface Fitted {
  request: ChatRequest;
  changes: Change[];
  /** Tool names as the target writes them → as the caller knows them; empty when none was changed. */
  toolNames: ReadonlyMap<string, string>;
}

/** Working state of one fit; every step edits `request` (a copy) and says so in `changes`. */
export interface FitState extends FitTarget {
  request: ChatRequest;
  changes: Change[];
}

/**
 * Makes the caller's request acceptable to one target, driven by data, and names every change. Starts from the
 * caller's own request, so each rung of a fallback ladder is fitted anew; the original is not touched.
 */
export function fit(request: ChatRequest, target: FitTarget): Fitted {
  const state: FitState = { ...target, request: { ...request }, changes: [] };
  fitParameters(state);
  fitReasoning(state);
  fitSampling(state);
  const toolNames = fitTools(state);
  fitMessages(state);
  return { request: state.request, changes: state.changes, toolNames };
}
