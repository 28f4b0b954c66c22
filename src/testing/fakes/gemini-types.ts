/** Requests of the Gemini API once `readProto` has read them: camelCase, closed, no nulls. */

export interface GeminiPart {
  text?: string;
  inlineData?: { mimeType?: string; data?: string };
  fileData?: { mimeType?: string; fileUri?: string };
  functionCall?: { id?: string; name?: string; args?: Record<string, unknown> };
  functionResponse?: {
    id?: string;
    name?: string;
    response?: Record<string, unknown>;
    parts?: { inlineData?: unknown; fileData?: unknown }[];
  };
  thought?: boolean;
  thoughtSignature?: string;
}

export interface GeminiContent {
  role?: string;
  parts?: GeminiPart[];
}

/** An OpenAPI schema. */
export interface GeminiSchema {
  type?: string;
  format?: string;
  enum?: string[];
  items?: GeminiSchema;
  properties?: Record<string, GeminiSchema>;
  required?: string[];
  anyOf?: GeminiSchema[];
}

export interface GeminiFunction {
  name?: string;
  parameters?: GeminiSchema;
  parametersJsonSchema?: unknown;
}

export interface GeminiTool {
  functionDeclarations?: GeminiFunction[];
  /** Tools that Google runs. */
  [builtIn: string]: unknown;
}

export interface GeminiConfig {
  temperature?: number;
  topP?: number;
  topK?: number;
  candidateCount?: number;
  maxOutputTokens?: number;
  stopSequences?: string[];
  presencePenalty?: number;
  frequencyPenalty?: number;
  responseMimeType?: string;
  responseSchema?: GeminiSchema;
  responseJsonSchema?: unknown;
  responseLogprobs?: boolean;
  logprobs?: number;
  thinkingConfig?: { includeThoughts?: boolean; thinkingBudget?: number; thinkingLevel?: string };
}

export interface GeminiBody {
  contents?: GeminiContent[];
  systemInstruction?: GeminiContent;
  tools?: GeminiTool[];
  toolConfig?: {
    functionCallingConfig?: { mode?: string; allowedFunctionNames?: string[] };
    includeServerSideToolInvocations?: boolean;
  };
  generationConfig?: GeminiConfig;
  cachedContent?: string;
}

export interface GeminiEmbedding {
  model?: string;
  content?: GeminiContent;
  title?: string;
  taskType?: string;
  outputDimensionality?: number;
}
