import type { Field, Message } from "./proto-json.ts";

/**
 * The requests of the Gemini API as messages [G-SDK; the v1beta protos for names]. What the SDK says is "not supported in
 * Gemini API" is not there. Settings that no text model needs (speech, images, maps …) are taken as they are.
 */

const list = (field: Field): Field => ({ list: field });
const of = (message: () => Message): Field => ({ message });
const anEnum = (name: string, ...values: string[]): Field => ({ enum: name, values });

const blob: Message = {
  name: "Blob",
  fields: { mimeType: "string", data: "bytes", displayName: "string" },
};
const fileData: Message = {
  name: "FileData",
  fields: { mimeType: "string", fileUri: "string", displayName: "string" },
};
const functionCall: Message = { name: "FunctionCall", fields: { id: "string", name: "string", args: "struct" } };
const functionResponse: Message = {
  name: "FunctionResponse",
  fields: {
    id: "string",
    name: "string",
    response: "struct",
    parts: list(
      of(() => ({
        name: "FunctionResponsePart",
        fields: { inlineData: of(() => blob), fileData: of(() => fileData), mediaProcessing: "value" },
        oneof: ["data", ["inlineData", "fileData"]],
      })),
    ),
    scheduling: anEnum("FunctionResponse.Scheduling", "SILENT", "WHEN_IDLE", "INTERRUPT"),
    willContinue: "bool",
  },
};

/** The fields of a part that hold what it says. */
export const PART_DATA = [
  "text",
  "inlineData",
  "fileData",
  "functionCall",
  "functionResponse",
  "executableCode",
  "codeExecutionResult",
  "toolCall",
  "toolResponse",
] as const;

const part: Message = {
  name: "Part",
  fields: {
    text: "string",
    inlineData: of(() => blob),
    fileData: of(() => fileData),
    functionCall: of(() => functionCall),
    functionResponse: of(() => functionResponse),
    executableCode: of(() => ({
      name: "ExecutableCode",
      fields: { id: "string", language: "string", code: "string" },
    })),
    codeExecutionResult: of(() => ({
      name: "CodeExecutionResult",
      fields: { id: "string", outcome: "string", output: "string" },
    })),
    toolCall: "struct",
    toolResponse: "struct",
    thought: "bool",
    thoughtSignature: "bytes",
    videoMetadata: "struct",
    partMetadata: "struct",
    mediaResolution: "value",
    mediaProcessing: "value",
    speechMetadata: "value",
  },
  oneof: ["data", PART_DATA],
};
const content: Message = { name: "Content", fields: { role: "string", parts: list(of(() => part)) } };

const type = anEnum("Type", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL");
const schema: Message = {
  name: "Schema",
  fields: {
    type,
    format: "string",
    title: "string",
    description: "string",
    nullable: "bool",
    enum: list("string"),
    items: of(() => schema),
    minItems: "int",
    maxItems: "int",
    properties: { map: of(() => schema) },
    required: list("string"),
    minProperties: "int",
    maxProperties: "int",
    propertyOrdering: list("string"),
    minimum: "float",
    maximum: "float",
    minLength: "int",
    maxLength: "int",
    pattern: "string",
    anyOf: list(of(() => schema)),
    default: "value",
    example: "value",
  },
};

const functionDeclaration: Message = {
  name: "FunctionDeclaration",
  fields: {
    name: "string",
    description: "string",
    parameters: of(() => schema),
    parametersJsonSchema: "value",
    response: of(() => schema),
    responseJsonSchema: "value",
    behavior: anEnum("FunctionDeclaration.Behavior", "BLOCKING", "NON_BLOCKING"),
  },
};
const tool: Message = {
  name: "Tool",
  fields: {
    functionDeclarations: list(of(() => functionDeclaration)),
    googleSearch: of(() => ({ name: "GoogleSearch", fields: { timeRangeFilter: "struct", searchTypes: "struct" } })),
    googleSearchRetrieval: "struct",
    codeExecution: of(() => ({ name: "CodeExecution", fields: {} })),
    urlContext: of(() => ({ name: "UrlContext", fields: {} })),
    fileSearch: of(() => ({
      name: "FileSearch",
      fields: { fileSearchStoreNames: list("string"), metadataFilter: "string", topK: "int" },
    })),
    googleMaps: "struct",
    computerUse: "struct",
    mcpServers: "value",
  },
};
const toolConfig: Message = {
  name: "ToolConfig",
  fields: {
    functionCallingConfig: of(() => ({
      name: "FunctionCallingConfig",
      fields: {
        mode: anEnum("FunctionCallingConfig.Mode", "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
        allowedFunctionNames: list("string"),
      },
    })),
    retrievalConfig: "struct",
    includeServerSideToolInvocations: "bool",
  },
};

const thinkingConfig: Message = {
  name: "ThinkingConfig",
  fields: {
    includeThoughts: "bool",
    thinkingBudget: "int",
    // XHIGH is not in the SDK: gemini-4-hydrogen has it [CAT-G].
    thinkingLevel: anEnum("ThinkingConfig.ThinkingLevel", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"),
  },
};
const generationConfig: Message = {
  name: "GenerationConfig",
  fields: {
    temperature: "float",
    topP: "float",
    topK: "int",
    candidateCount: "int",
    maxOutputTokens: "int",
    stopSequences: list("string"),
    seed: "int",
    presencePenalty: "float",
    frequencyPenalty: "float",
    responseMimeType: "string",
    responseSchema: of(() => schema),
    responseJsonSchema: "value",
    responseFormat: "value",
    responseLogprobs: "bool",
    logprobs: "int",
    responseModalities: list(anEnum("GenerationConfig.Modality", "TEXT", "IMAGE", "AUDIO")),
    mediaResolution: anEnum(
      "GenerationConfig.MediaResolution",
      "MEDIA_RESOLUTION_LOW",
      "MEDIA_RESOLUTION_MEDIUM",
      "MEDIA_RESOLUTION_HIGH",
    ),
    thinkingConfig: of(() => thinkingConfig),
    speechConfig: "struct",
    imageConfig: "struct",
    audioTranscriptionConfig: "struct",
    translationConfig: "struct",
    enableEnhancedCivicAnswers: "bool",
  },
};

const harm = ["HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT"].map((c) => `HARM_CATEGORY_${c}`);
const safetySetting: Message = {
  name: "SafetySetting",
  fields: {
    category: anEnum("HarmCategory", ...harm, "HARM_CATEGORY_CIVIC_INTEGRITY"),
    threshold: anEnum(
      "SafetySetting.HarmBlockThreshold",
      "BLOCK_LOW_AND_ABOVE",
      "BLOCK_MEDIUM_AND_ABOVE",
      "BLOCK_ONLY_HIGH",
      "BLOCK_NONE",
      "OFF",
    ),
  },
};

/** `:generateContent` and `:streamGenerateContent` */
export const generateContentRequest: Message = {
  name: "GenerateContentRequest",
  fields: {
    model: "string",
    contents: list(of(() => content)),
    systemInstruction: of(() => content),
    tools: list(of(() => tool)),
    toolConfig: of(() => toolConfig),
    safetySettings: list(of(() => safetySetting)),
    generationConfig: of(() => generationConfig),
    cachedContent: "string",
    serviceTier: "string",
    store: "bool",
    continuationToken: "bytes",
  },
};

/** `:countTokens` */
export const countTokensRequest: Message = {
  name: "CountTokensRequest",
  fields: {
    model: "string",
    contents: list(of(() => content)),
    generateContentRequest: of(() => generateContentRequest),
  },
};

const TASKS = [
  "RETRIEVAL_QUERY",
  "RETRIEVAL_DOCUMENT",
  "SEMANTIC_SIMILARITY",
  "CLASSIFICATION",
  "CLUSTERING",
  "QUESTION_ANSWERING",
  "FACT_VERIFICATION",
  "CODE_RETRIEVAL_QUERY",
];

/** `:embedContent` */
export const embedContentRequest: Message = {
  name: "EmbedContentRequest",
  fields: {
    model: "string",
    content: of(() => content),
    taskType: anEnum("TaskType", ...TASKS),
    title: "string",
    outputDimensionality: "int",
  },
};

/** `:batchEmbedContents` */
export const batchEmbedContentsRequest: Message = {
  name: "BatchEmbedContentsRequest",
  fields: { model: "string", requests: list(of(() => embedContentRequest)) },
};
