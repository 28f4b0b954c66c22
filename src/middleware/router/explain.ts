import { type GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { ExplainedTarget, Explanation, GatewayPlan } from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import { childFor } from "./attempt.ts";
import type { Candidate, Decider, Decision } from "./decide.ts";
import { isFinal } from "./errors.ts";
import type { ParsedOptions } from "./options.ts";
import { checkOperation } from "./targets.ts";

/** The whole decision on a request, with what everybody behind the router would say, and nothing sent. */
export async function explain(
  exchange: Exchange,
  plan: GatewayPlan,
  decider: Decider,
  { retired }: Pick<ParsedOptions, "retired">,
): Promise<Explanation> {
  const decision = await decider.decide(exchange, true);
  const candidates: ExplainedTarget[] = [];
  let stopped: GatewayError | undefined;
  for (const candidate of decision.candidates) {
    const one = await explainTarget(exchange, candidate, decision);
    if (stopped) one.told.excluded ??= { code: stopped.code, reason: "a refusal before it ends the list" };
    else if (one.refused && isFinal(one.refused)) stopped = one.refused;
    candidates.push(one.told);
  }
  for (const { target, code, reason } of decision.excluded) {
    candidates.push({ ...placeOf(target), excluded: { code, reason } });
  }
  return {
    ...(decision.rule && { rule: decision.rule.name }),
    model: decision.model,
    inputTokens: exchange.services.estimateInput(exchange),
    outputTokens: decider.outputTokens(exchange),
    candidates,
  };

  async function explainTarget(
    exchange: Exchange,
    candidate: Candidate,
    decision: Decision,
  ): Promise<{ told: ExplainedTarget; refused?: GatewayError }> {
    let child: Exchange;
    try {
      child = childFor(exchange, candidate, decision, retired);
      checkOperation(child, child.target!);
    } catch (error) {
      const refused = toGatewayError(error);
      return {
        refused,
        told: { ...placeOf(candidate.target), excluded: { code: refused.code, reason: refused.message } },
      };
    }
    const { refused, limits, changes } = await plan.foresee(child);
    const told: ExplainedTarget = {
      ...placeOf(child.target!),
      estimatedUsd: usd(decider.price(child, child.target!)),
      ...(limits && { limits }),
      ...(changes && changes.length > 0 && { changes }),
      ...(refused && { excluded: { code: refused.code, reason: refused.message } }),
    };
    return refused ? { told, refused } : { told };
  }
}

const usd = (nano: number | null) => (nano === null ? null : nano / 1e9);

function placeOf(target: Target): ExplainedTarget {
  const { jurisdiction, region } = target.provider;
  return { target: target.name, ...(jurisdiction && { jurisdiction }), ...(region && { region }) };
}
