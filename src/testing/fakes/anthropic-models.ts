import type { AnthropicBody } from "./anthropic-schema.ts";

/** Thinking, effort and sampling per Claude model: wire.md §1.8 [A-DOC, CAT-A]. */

export interface ClaudeModel {
  match: RegExp;
  thinking: readonly ("adaptive" | "enabled" | "disabled" | "between_tools")[];
  /** Thinks when `thinking` is absent. */
  thinksByDefault: boolean;
  /** `disabled` only up to effort high. */
  disabledUpToHigh?: boolean;
  /** null = the parameter is refused. */
  efforts: readonly string[] | null;
  /** temperature, top_p and top_k: only their defaults, or free while thinking is off. */
  sampling: "no" | "without-thinking";
  /** tool_choice any and tool. */
  forcedTool: "yes" | "no" | "without-enabled";
  prefill: boolean;
  /** role "system" inside messages. */
  midSystem: boolean;
  display: "omitted" | "summarized";
}

const FULL = ["low", "medium", "high", "xhigh", "max"];
const newest = { efforts: FULL, sampling: "no", prefill: false, midSystem: true, display: "omitted" } as const;
const classic = {
  sampling: "without-thinking",
  midSystem: false,
  display: "summarized",
  thinksByDefault: false,
} as const;

const MODEL_IDS = [
  "claude-sonnet-5-5",
  "claude-opus-5-5",
  "claude-haiku-5-5",
  "claude-opus-4-6",
  "claude-sonnet-4-6",
  "claude-opus-4-5",
  "claude-sonnet-4-5",
  "claude-haiku-4-5",
];

/** The first row that matches counts; ids that match none do not exist. */
const MODELS: readonly ClaudeModel[] = [
  {
    match: /^claude-sonnet-5-5/,
    thinking: ["adaptive", "between_tools"],
    thinksByDefault: true,
    forcedTool: "no",
    ...newest,
  },
  {
    match: /^claude-opus-5-5|^claude-(fable|mythos)-5-[12]/,
    thinking: ["adaptive"],
    thinksByDefault: true,
    forcedTool: "no",
    ...newest,
  },
  {
    match: /^claude-haiku-5-5|^claude-opus-5/,
    thinking: ["adaptive", "disabled"],
    disabledUpToHigh: true,
    thinksByDefault: true,
    forcedTool: "yes",
    ...newest,
  },
  { match: /^claude-(fable|mythos)-5/, thinking: ["adaptive"], thinksByDefault: true, forcedTool: "yes", ...newest },
  {
    match: /^claude-sonnet-5/,
    thinking: ["adaptive", "disabled"],
    thinksByDefault: true,
    forcedTool: "yes",
    ...newest,
  },
  {
    match: /^claude-opus-4-8/,
    thinking: ["adaptive", "disabled"],
    thinksByDefault: false,
    forcedTool: "yes",
    ...newest,
  },
  {
    match: /^claude-opus-4-7/,
    thinking: ["adaptive", "disabled"],
    thinksByDefault: false,
    forcedTool: "yes",
    ...newest,
    midSystem: false,
  },
  {
    match: /^claude-(opus|sonnet)-4-6/,
    thinking: ["adaptive", "enabled", "disabled"],
    efforts: ["low", "medium", "high", "max"],
    forcedTool: "without-enabled",
    prefill: false,
    ...classic,
  },
  {
    match: /^claude-opus-4-5/,
    thinking: ["enabled", "disabled"],
    efforts: ["low", "medium", "high"],
    forcedTool: "without-enabled",
    prefill: true,
    ...classic,
  },
  {
    match: /^claude-(haiku|sonnet)-4-5|^claude-(opus|sonnet)-4(-[01])?(-\d{8})?$|^claude-3-/,
    thinking: ["enabled", "disabled"],
    efforts: null,
    forcedTool: "without-enabled",
    prefill: true,
    ...classic,
  },
];

/** `GET /v1/models` */
export function modelList() {
  const data = MODEL_IDS.map((id) => modelCard(id, claudeModel(id) as ClaudeModel));
  return { data, has_more: false, first_id: MODEL_IDS[0], last_id: MODEL_IDS.at(-1) };
}

/** `GET /v1/models/{id}` */
export function modelCard(id: string, model: ClaudeModel) {
  const is = (supported: boolean) => ({ supported });
  const types = ["adaptive", "between_tools", "disabled", "enabled"] as const;
  const levels = ["low", "medium", "high", "xhigh", "max"];
  return {
    type: "model",
    id,
    display_name: id.replace(/^claude-/, "Claude ").replaceAll("-", " "),
    created_at: "2026-01-01T00:00:00Z",
    lifecycle: "active",
    max_input_tokens: 200_000,
    max_tokens: 64_000,
    capabilities: {
      image_input: is(true),
      pdf_input: is(true),
      structured_outputs: is(true),
      thinking: {
        ...is(true),
        types: Object.fromEntries(types.map((type) => [type, is(model.thinking.includes(type))])),
      },
      effort: {
        ...is(model.efforts !== null),
        ...Object.fromEntries(levels.map((level) => [level, is(model.efforts?.includes(level) === true)])),
      },
    },
  };
}

/** The row of a model, or undefined when there is no such model. */
export function claudeModel(id: string): ClaudeModel | undefined {
  return MODELS.find((model) => model.match.test(id));
}

/** Whether this request makes this model think. */
export function thinks(body: AnthropicBody, model: ClaudeModel): boolean {
  const type = body.thinking?.type;
  return type === undefined ? model.thinksByDefault : type === "enabled" || type === "adaptive";
}

/** The first of a model's own rules that a body breaks. */
export function modelError(body: AnthropicBody, model: ClaudeModel): string | undefined {
  return (
    thinkingError(body, model) ?? effortError(body, model) ?? samplingError(body, model) ?? forcedToolError(body, model)
  );
}

function thinkingError(body: AnthropicBody, model: ClaudeModel): string | undefined {
  const { thinking } = body;
  if (!thinking) return undefined;
  if (!model.thinking.includes(thinking.type)) {
    if (thinking.type === "adaptive") return "adaptive thinking is not supported on this model";
    const hint = ' Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.';
    return `"thinking.type.${thinking.type}" is not supported for this model.${thinking.type === "enabled" ? hint : ""}`;
  }
  const limit = body.max_tokens;
  if (thinking.type === "enabled" && limit !== undefined && thinking.budget_tokens >= limit)
    return "`max_tokens` must be greater than `thinking.budget_tokens`.";
  return undefined;
}

function effortError(body: AnthropicBody, model: ClaudeModel): string | undefined {
  const effort = body.output_config?.effort;
  if (!effort) return undefined;
  if (!model.efforts) return "This model does not support the effort parameter.";
  if (!model.efforts.includes(effort)) {
    const supported = [...model.efforts].sort().join(", ");
    return `This model does not support effort level '${effort}'. Supported levels: ${supported}.`;
  }
  const high = effort === "xhigh" || effort === "max";
  if (model.disabledUpToHigh && body.thinking?.type === "disabled" && high)
    return `"thinking.type.disabled" is not supported with effort level '${effort}' on this model.`;
  return undefined;
}

/** Defaults pass everywhere: temperature 1, top_p from 0.99 (with thinking on an older model from 0.95) [A-SDK0]. */
function samplingError(body: AnthropicBody, model: ClaudeModel): string | undefined {
  const { temperature = 1, top_p = 1, top_k } = body;
  if (model.sampling === "no") {
    const bad = temperature !== 1 ? "temperature" : top_p < 0.99 ? "top_p" : top_k !== undefined ? "top_k" : undefined;
    return bad && `\`${bad}\` is deprecated for this model.`;
  }
  if (!thinks(body, model)) return undefined;
  if (temperature !== 1) return "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.";
  if (top_p < 0.95) return "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.";
  return top_k === undefined ? undefined : "`top_k` must be unset when thinking is enabled or in adaptive mode.";
}

function forcedToolError(body: AnthropicBody, model: ClaudeModel): string | undefined {
  const type = body.tool_choice?.type;
  if (type !== "any" && type !== "tool") return undefined;
  if (model.forcedTool === "no") return `tool_choice.type "${type}" is not supported for this model.`;
  if (model.forcedTool === "without-enabled" && body.thinking?.type === "enabled")
    return "Thinking may not be enabled when tool_choice forces tool use.";
  return undefined;
}
