import { createHash } from "node:crypto";
import type { NumberRange, ParameterName } from "../../core/provider.ts";
import type { Change, ChatRequest } from "../../core/request.ts";
import type { FitState } from "./index.ts";
import { unsupported } from "./unsupported.ts";

/** Wire-like names for the changes, and whether losing the parameter changes the answer. */
const PARAMETERS: Record<ParameterName, { field: string; hint?: boolean }> = {
  temperature: { field: "temperature" },
  topP: { field: "top_p" },
  topK: { field: "top_k" },
  seed: { field: "seed" },
  stop: { field: "stop" },
  presencePenalty: { field: "presence_penalty" },
  frequencyPenalty: { field: "frequency_penalty" },
  logitBias: { field: "logit_bias" },
  n: { field: "n" },
  logprobs: { field: "logprobs" },
  parallelToolCalls: { field: "parallel_tool_calls" },
  serviceTier: { field: "service_tier", hint: true },
  userId: { field: "user", hint: true },
  sessionId: { field: "prompt_cache_key", hint: true },
  metadata: { field: "metadata", hint: true },
};

const NAMES = Object.keys(PARAMETERS) as ParameterName[];

export function fitParameters(state: FitState): void {
  const { request, capabilities, changes } = state;
  const rules = capabilities.parameters ?? {};
  for (const name of NAMES) {
    const value = request[name];
    if (value === undefined) continue;
    const rule = rules[name] ?? capabilities.otherParameters ?? true;
    if (rule === true) continue;
    if (name === "n") refuseMany(state, rule === false ? 1 : (rule as NumberRange).max);
    if (rule === false || (Array.isArray(rule) && !rule.includes(value as string))) drop(request, name, changes);
    else if (typeof value === "number" && !Array.isArray(rule)) {
      clamp(request, name as "temperature", value, rule as NumberRange, changes);
    }
  }
  fitIds(state);
  if (request.logprobs === undefined) request.topLogprobs = undefined;
  fitStop(state);
  fitExtensions(state);
  fitMaxTokens(state);
}

/** One answer is no part of many: who asked for them gets them from another target, or is told. */
function refuseMany(state: FitState, most = Number.POSITIVE_INFINITY): void {
  const { n = 1 } = state.request;
  if (n <= most) return;
  const bound = most === 1 ? "1" : `at most ${most}`;
  throw unsupported((target) => `n must be ${bound} for ${target}`, "n", state);
}

/** After reasoning is decided: some models take sampling parameters only while they do not think. */
export function fitSampling({ request, capabilities, changes }: FitState): void {
  const { sampling = "always" } = capabilities;
  const mode = request.reasoning?.mode ?? (sampling === "when-off" ? "default" : "off");
  if (sampling === "always" || mode === "off") return;
  for (const name of ["temperature", "topP", "topK", "logprobs"] as const) {
    if (request[name] !== undefined) drop(request, name, changes);
  }
  if (request.logprobs === undefined) request.topLogprobs = undefined;
}

function drop(request: ChatRequest, name: ParameterName, changes: Change[]): void {
  const { field, hint } = PARAMETERS[name];
  const value = request[name];
  request[name] = undefined;
  // Saying what is the default anyway is no loss.
  if (value === 1 && name === "n") return;
  if (value === false && name === "logprobs") return;
  if (value === true && name === "parallelToolCalls") return;
  changes.push({ field, kind: hint ? "ignored" : "dropped", ...(hint ? {} : scalar(value)) });
}

function scalar(value: unknown): { from?: string | number | boolean } {
  if (typeof value === "number" || typeof value === "boolean") return { from: value };
  return typeof value === "string" ? { from: value.slice(0, 40) } : {};
}

function clamp(request: ChatRequest, name: "temperature", value: number, range: NumberRange, changes: Change[]): void {
  const fitted = Math.min(
    range.max ?? Number.POSITIVE_INFINITY,
    Math.max(range.min ?? Number.NEGATIVE_INFINITY, value),
  );
  if (fitted === value) return;
  request[name] = fitted;
  changes.push({ field: PARAMETERS[name].field, kind: "adjusted", from: value, to: fitted });
}

/** A digest names the same thing. */
function fitIds({ request, capabilities, changes }: FitState): void {
  for (const name of ["userId", "sessionId"] as const) {
    const id = request[name];
    if (id === undefined || id.length <= (capabilities.maxIdLength ?? Number.POSITIVE_INFINITY)) continue;
    request[name] = createHash("sha256").update(id).digest("hex");
    changes.push({ field: PARAMETERS[name].field, kind: "moved", to: "digest" });
  }
}

function fitStop({ request, capabilities, changes }: FitState): void {
  const most = capabilities.maxStopSequences;
  if (request.stop === undefined || most === undefined || request.stop.length <= most) return;
  changes.push({ field: "stop", kind: "adjusted", from: request.stop.length, to: most, reason: "too many sequences" });
  request.stop = request.stop.slice(0, most);
}

/** Fields that only the caller's dialect knows mean nothing to another one. */
function fitExtensions({ request, dialect, changes }: FitState): void {
  const extensions = request.extensions;
  if (!extensions || extensions.dialect === dialect) return;
  for (const field of Object.keys(extensions.value)) changes.push({ field: field.slice(0, 64), kind: "ignored" });
  request.extensions = undefined;
}

function fitMaxTokens({ request, capabilities, changes, grantedTokens }: FitState): void {
  const asked = request.maxTokens;
  let bound = asked ?? capabilities.defaultMaxTokens;
  let reason: string | undefined;
  if (bound !== undefined && capabilities.maxOutputTokens !== undefined && bound > capabilities.maxOutputTokens) {
    bound = capabilities.maxOutputTokens;
    reason = "model limit";
  }
  if (grantedTokens !== undefined && (bound === undefined || grantedTokens < bound)) {
    bound = grantedTokens;
    reason = "budget";
  }
  if (bound !== undefined && capabilities.minOutputTokens !== undefined && bound < capabilities.minOutputTokens) {
    bound = capabilities.minOutputTokens;
    reason = "model limit";
  }
  if (bound === undefined || bound === asked) return;
  request.maxTokens = bound;
  changes.push({
    field: "max_tokens",
    kind: asked === undefined ? "added" : "adjusted",
    ...(asked !== undefined && { from: asked }),
    to: bound,
    ...(reason && { reason }),
  });
}
