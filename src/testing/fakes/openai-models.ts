/** OpenAI's models: what each takes for reasoning and sampling, wire.md §2.5 [CAT-O]. */
export interface OpenAIFamily {
  match: RegExp;
  /** Values of the reasoning effort; null = not a reasoning model. */
  efforts: readonly string[] | null;
  /** `with-none`: temperature and friends only with effort none. */
  sampling: "always" | "with-none" | "never";
  /** What it does when no effort is given. @default "medium" [FX-P gpt_5_5_drops_sampling_params_by_default] */
  effort?: "none";
  /** Chat refuses function tools together with reasoning. */
  toolsOnlyWithNone?: boolean;
  stop?: false;
  /** Not served by Chat Completions. */
  responsesOnly?: boolean;
}

const LOW_TO_HIGH = ["low", "medium", "high"];
const LOW_TO_XHIGH = [...LOW_TO_HIGH, "xhigh"];
const LOW_TO_MAX = [...LOW_TO_XHIGH, "max"];

/** The first row that matches counts. */
const FAMILIES: readonly OpenAIFamily[] = [
  { match: /^gpt-5[^/]*-codex|^gpt-5-pro/, efforts: LOW_TO_XHIGH, sampling: "never", responsesOnly: true },
  { match: /^gpt-5[^/]*-chat/, efforts: null, sampling: "always" },
  { match: /^gpt-6-astra|^gpt-6\.1-sol/, efforts: LOW_TO_MAX, sampling: "never" },
  { match: /^gpt-6/, efforts: ["none", ...LOW_TO_MAX], sampling: "with-none" },
  { match: /^gpt-5\.6/, efforts: ["none", ...LOW_TO_MAX], sampling: "with-none", toolsOnlyWithNone: true },
  { match: /^gpt-5\.5/, efforts: ["none", ...LOW_TO_XHIGH], sampling: "with-none" },
  { match: /^gpt-5\.[2-4]/, efforts: ["none", ...LOW_TO_XHIGH], sampling: "with-none", effort: "none" },
  { match: /^gpt-5\.1/, efforts: ["none", ...LOW_TO_HIGH], sampling: "with-none", effort: "none" },
  { match: /^gpt-5/, efforts: ["minimal", ...LOW_TO_HIGH], sampling: "never" },
  { match: /^o\d/, efforts: LOW_TO_HIGH, sampling: "never", stop: false },
  { match: /^gpt-[34]/, efforts: null, sampling: "always" },
];

/** Whether temperature and friends are accepted. @param asked the effort of the request */
export function takesSampling({ sampling, effort }: OpenAIFamily, asked: string | null | undefined): boolean {
  return sampling === "always" || (sampling === "with-none" && (asked ?? effort) === "none");
}

/** Words that may stand in a model's name. */
const NAME =
  /^(o\d|gpt-\d(\.\d)?o?)(-(mini|nano|micro|pro|chat|latest|codex|max|spark|turbo|preview|search|audio|sol|luna|terra|astra))*(-\d{4}(-\d{2}-\d{2})?)?$/;

export function openAIFamily(model: string): OpenAIFamily | undefined {
  return NAME.test(model) ? FAMILIES.find((row) => row.match.test(model)) : undefined;
}

const IDS = [
  "gpt-4o",
  "gpt-4.1",
  "gpt-5",
  "gpt-5-mini",
  "gpt-5.1",
  "gpt-5.5",
  "gpt-5.6",
  "gpt-6-astra",
  "gpt-6-sol",
  "o3",
  "o4-mini",
  "text-embedding-3-large",
  "text-embedding-3-small",
];

/** The answer of `GET /v1/models`. */
export function openAIModelList() {
  const data = IDS.map((id) => ({ id, object: "model", created: 1764547200, owned_by: "openai" }));
  return { object: "list", data };
}
