import type { ReasoningSupport } from "../../core/provider.ts";
import { EFFORTS, type Effort, type Reasoning } from "../../core/request.ts";
import type { FitState } from "./index.ts";

/** Budget ↔ effort where one side lacks the unit (wire.md §8.1; a decision, not a provider's fact). */
const EFFORT_OF_BUDGET: readonly (readonly [number, Effort])[] = [
  [1024, "minimal"],
  [4096, "low"],
  [12_000, "medium"],
  [24_000, "high"],
  [40_000, "xhigh"],
];
const BUDGET_OF_EFFORT: Record<Effort, number> = {
  minimal: 1024,
  low: 4096,
  medium: 8192,
  high: 16_384,
  xhigh: 24_576,
  max: 32_768,
};

/** What a budget of our own choice leaves for the answer (wire.md §8.1). */
const ANSWER_TOKENS = 1024;

/** Renders the caller's intent in what the target accepts; never forwards a value it is not known to take. */
export function fitReasoning(state: FitState): void {
  const { request, capabilities, changes } = state;
  const support = capabilities.reasoning;
  const asked = request.reasoning;
  if (support === undefined) return;
  if (!asked) {
    if (support && support.default !== undefined) {
      request.reasoning = { mode: "on", effort: support.default };
      changes.push({ field: "reasoning.effort", kind: "added", to: support.default, reason: "otherwise the highest" });
    }
    return;
  }
  const wishes = asked.mode !== "default" || asked.effort !== undefined || asked.budget !== undefined;
  if (support === false) {
    request.reasoning = undefined;
    if (asked.mode !== "off" && wishes) {
      const from = asked.effort ?? asked.budget ?? asked.mode;
      changes.push({ field: "reasoning.effort", kind: asked.mode === "on" ? "dropped" : "ignored", from, to: "none" });
    }
    return;
  }
  // Only whether thinking is shown: nothing to render.
  if (!wishes) return;
  const fitted = asked.mode === "off" ? fitOff(state, support) : fitOn(state, asked, support);
  // Who turned thinking off does not want to read it, where it cannot be turned off.
  const show = asked.show ?? (asked.mode === "off" ? false : undefined);
  request.reasoning = fitted && show !== undefined ? { ...fitted, show } : fitted;
}

type Support = Exclude<ReasoningSupport, false>;

function fitOff({ changes }: FitState, support: Support): Reasoning | undefined {
  if (support.off === "none") return { mode: "off" };
  if (support.off === "omit") return undefined;
  const lowest = support.levels?.[0];
  const least = support.budget?.min;
  changes.push({
    field: "reasoning",
    kind: "adjusted",
    from: "off",
    to: lowest ?? (least === undefined ? "on" : `budget ${least}`),
    reason: "cannot be turned off",
  });
  if (least !== undefined) return { mode: "on", budget: least };
  return lowest ? { mode: support.auto ? "default" : "on", effort: lowest } : undefined;
}

function fitOn({ request, changes }: FitState, asked: Reasoning, support: Support): Reasoning | undefined {
  const wanted = asked.effort ?? (asked.budget === undefined ? undefined : effortOfBudget(asked.budget));
  if (support.auto && asked.mode === "auto" && wanted === undefined) return { mode: "auto" };
  if (support.budget) {
    const room = asked.budget === undefined ? ANSWER_TOKENS : 1;
    const ceiling = Math.min(support.budget.max, (request.maxTokens ?? Number.POSITIVE_INFINITY) - room);
    const budget = Math.min(asked.budget ?? BUDGET_OF_EFFORT[wanted ?? "high"], ceiling);
    if (budget < support.budget.min) {
      changes.push({
        field: "reasoning",
        kind: "adjusted",
        from: asked.effort ?? asked.mode,
        to: "off",
        reason: "max_tokens too small",
      });
      return support.off === "none" ? { mode: "off" } : undefined;
    }
    if (asked.budget !== undefined && budget !== asked.budget) {
      changes.push({ field: "reasoning.budget", kind: "adjusted", from: asked.budget, to: budget });
    }
    const effort = support.levels && wanted ? step(wanted, support) : undefined;
    if (asked.budget === undefined) {
      changes.push({ field: "reasoning", kind: "moved", from: wanted ?? asked.mode, to: `budget ${budget}` });
    }
    return effort && effort !== "off" ? { mode: "on", budget, effort } : { mode: "on", budget };
  }
  if (wanted === undefined)
    return support.auto ? { mode: "auto" } : support.default ? { mode: "on", effort: support.default } : undefined;
  const effort = step(wanted, support);
  if (asked.effort === undefined) {
    changes.push({
      field: "reasoning.budget",
      kind: "moved",
      from: asked.budget!,
      to: effort === "off" ? "none" : effort,
    });
  } else if (effort !== asked.effort) {
    changes.push({
      field: "reasoning.effort",
      kind: "adjusted",
      from: asked.effort,
      to: effort === "off" ? "none" : effort,
    });
  }
  if (effort === "off") return { mode: "off" };
  return { mode: support.auto ? (asked.mode === "default" ? "default" : "auto") : "on", effort };
}

/** The nearest accepted level: the row's own map, else down, else the lowest. */
function step(wanted: Effort, support: Support): Effort | "off" {
  const mapped = support.map?.[wanted];
  if (mapped) return mapped;
  const levels = support.levels ?? EFFORTS;
  if (levels.includes(wanted)) return wanted;
  const rank = EFFORTS.indexOf(wanted);
  const below = levels.filter((level) => EFFORTS.indexOf(level) < rank);
  return below.at(-1) ?? levels[0] ?? wanted;
}

function effortOfBudget(budget: number): Effort {
  return EFFORT_OF_BUDGET.find(([most]) => budget <= most)?.[1] ?? "max";
}
