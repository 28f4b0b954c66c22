/** The Gemini models: how each is told to think, and what it cannot do [CAT-G, wire.md §8.1]. */
export interface GeminiModel {
  match: RegExp;
  /** Accepted `thinkingLevel`s. */
  levels?: readonly string[];
  /** Accepted `thinkingBudget`s beside -1; `off`: 0 too. */
  budget?: { min: number; max: number; off: boolean };
  /** From 3 on a call must come back with its thought signature. */
  needsSignature: boolean;
  /** JSON output beside tools. */
  jsonWithTools: boolean;
  /** Parts with media in a functionResponse. */
  mediaInResults: boolean;
}

const V3 = { needsSignature: true, jsonWithTools: true, mediaInResults: true };
const V2 = { needsSignature: false, jsonWithTools: false, mediaInResults: false };
const FROM_LOW = ["LOW", "MEDIUM", "HIGH"];
const FROM_MINIMAL = ["MINIMAL", ...FROM_LOW];
/** 3.x takes the budgets of old, but thinking cannot be turned off that way [googleapis/python-genai#2936]. */
const OLD_BUDGET = { min: 1, max: 32768, off: false };
const TAIL = "(-preview(-\\d{2}-\\d{4}|-customtools)?|-\\d{3}|-exp|-latest)?$";

/** The first row that matches counts. */
const MODELS: readonly GeminiModel[] = [
  { match: /^gemini-4-hydrogen$/, levels: [...FROM_LOW, "XHIGH"], ...V3 },
  { match: /^gemini-4-(argon|carbon)$/, levels: FROM_MINIMAL, ...V3 },
  { match: RegExp(`^gemini-3(\\.\\d)?-pro${TAIL}`), levels: FROM_LOW, budget: OLD_BUDGET, ...V3 },
  { match: RegExp(`^gemini-3\\.[78]-flash${TAIL}`), levels: FROM_LOW, budget: OLD_BUDGET, ...V3 },
  { match: RegExp(`^gemini-3(\\.\\d)?-flash(-lite)?${TAIL}`), levels: FROM_MINIMAL, budget: OLD_BUDGET, ...V3 },
  { match: /^gemini-(flash|pro)-latest$/, levels: FROM_LOW, budget: OLD_BUDGET, ...V3 },
  { match: /^gemini-flash-lite-latest$/, levels: FROM_MINIMAL, budget: OLD_BUDGET, ...V3 },
  { match: RegExp(`^gemini-2\\.5-pro${TAIL}`), budget: { min: 128, max: 32768, off: false }, ...V2 },
  { match: RegExp(`^gemini-2\\.5-flash-lite${TAIL}`), budget: { min: 512, max: 24576, off: true }, ...V2 },
  { match: RegExp(`^gemini-2\\.5-flash${TAIL}`), budget: { min: 1, max: 24576, off: true }, ...V2 },
  { match: RegExp(`^gemini-2\\.0-flash(-lite)?${TAIL}`), ...V2 },
];

export function geminiModel(id: string): GeminiModel | undefined {
  return MODELS.find((row) => row.match.test(id));
}

/** Whether it thinks, whatever the request says. */
export const canThink = (model: GeminiModel) => Boolean(model.levels ?? model.budget);

/** Largest length of a vector, and how many tokens make one. */
const EMBEDDERS: Record<string, { dimensions: number; inputTokens: number }> = {
  "gemini-embedding-001": { dimensions: 3072, inputTokens: 2048 },
  "gemini-embedding-2": { dimensions: 3072, inputTokens: 8192 },
  "gemini-embedding-2-preview": { dimensions: 3072, inputTokens: 8192 },
};

export function geminiEmbedder(id: string) {
  return Object.hasOwn(EMBEDDERS, id) ? EMBEDDERS[id] : undefined;
}

const IDS = [
  "gemini-2.5-flash",
  "gemini-2.5-pro",
  "gemini-3-pro-preview",
  "gemini-3.6-flash",
  "gemini-3.7-flash",
  "gemini-4-hydrogen",
  "gemini-embedding-001",
];

/** The answer of `GET /v1beta/models`. */
export const geminiModelList = () => ({ models: IDS.map((id) => geminiCard(id)) });

/** The answer of `GET /v1beta/models/{id}`, or undefined. */
export function geminiCard(id: string) {
  const model = geminiModel(id);
  const embedder = geminiEmbedder(id);
  if (!model && !embedder) return undefined;
  return {
    name: `models/${id}`,
    version: "001",
    displayName: id,
    inputTokenLimit: embedder?.inputTokens ?? 1048576,
    outputTokenLimit: embedder ? 1 : 65536,
    supportedGenerationMethods: embedder
      ? ["embedContent", "countTokens"]
      : ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"],
    ...(model && canThink(model) && { thinking: true }),
  };
}
