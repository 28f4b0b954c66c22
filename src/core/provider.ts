import type { Dialect } from "./dialect.ts";
import type { ChatRequest, Effort } from "./request.ts";

/** What a provider may be asked. `chat` is the whole answer, `chat.stream` the streamed one. */
export const PROVIDER_OPERATIONS = ["chat", "chat.stream", "count-tokens", "embeddings"] as const;
export type ProviderOperation = (typeof PROVIDER_OPERATIONS)[number];

/** Text, bytes, or bytes in pieces, one after the other: what a caller sent is not copied to change a word of it. */
export type CallBody = string | Uint8Array | readonly Uint8Array[];

/** A request on its way to an upstream. */
export interface UpstreamCall {
  method: "POST" | "GET";
  /** Below the provider's `baseURL`. */
  path: string;
  headers: Record<string, string>;
  body?: CallBody | undefined;
  /** Other patience than the provider's own, ms. */
  timeouts?: { firstByteMs?: number | undefined; idleMs?: number | undefined } | undefined;
  /** Called with a function that aborts the call; calling it after the end does nothing. */
  onAbort?(abort: (reason: Error) => void): void;
}

/** Receives an upstream's body. */
export interface ByteSink {
  data(chunk: Uint8Array): void;
  end(): void;
  error(error: Error): void;
}

export interface ByteSource {
  /** Called once; what came before is delivered at once. */
  start(sink: ByteSink): void;
  pause(): void;
  resume(): void;
  /** Closes the connection. No further call to the sink. */
  cancel(): void;
}

export interface UpstreamResponse {
  status: number;
  /** Lower-case names; repeated headers joined with ", ". */
  headers: Record<string, string>;
  body: ByteSource;
}

/**
 * Carries one call to the upstream. Resolves with the head of the answer.
 * @throws GatewayError `upstream_unreachable` (`billable` tells whether the request had left), `upstream_timeout`,
 * `upstream_invalid` (redirect)
 */
export type Transport = (call: UpstreamCall) => Promise<UpstreamResponse>;

/** Range of a numeric parameter; values outside are clamped. */
export interface NumberRange {
  min?: number;
  max?: number;
}

/** Request parameters that a target may not take. Absent in a row means: not decided here. */
export type ParameterName =
  | "temperature"
  | "topP"
  | "topK"
  | "seed"
  | "stop"
  | "presencePenalty"
  | "frequencyPenalty"
  | "logitBias"
  | "n"
  | "logprobs"
  | "parallelToolCalls"
  | "serviceTier"
  | "userId"
  | "sessionId"
  | "metadata";

/**
 * How a target takes reasoning. `levels` are the accepted efforts, `map` says where an effort goes that stepping down
 * would not bring there; `off` says how it is turned off (`"none"`: the wire's off value; `"omit"`: by saying nothing;
 * `"never"`: it cannot be). `budget`: thinking is bought by tokens.
 */
export type ReasoningSupport =
  | false
  | {
      levels?: readonly Effort[];
      map?: Partial<Record<Effort, Effort | "off">>;
      off: "none" | "omit" | "never";
      /** Whether `auto` (the model decides) can be said; otherwise it becomes an effort. */
      auto?: boolean;
      /** Accepted range of a thinking budget; absent: budgets become efforts. */
      budget?: { min: number; max: number };
      /** What to send when the caller said nothing; default nothing. */
      default?: Effort;
    };

/** Facts about a target's wire, as data. A row states only what it knows; later, more specific rows win. */
export interface Capabilities {
  /** `false`: not accepted; `true`: accepted; a range: accepted and clamped; for `serviceTier` the accepted values. */
  parameters?: Partial<Record<ParameterName, boolean | NumberRange | readonly string[]>>;
  /**
   * `without-thinking`: temperature, top_p, top_k and logprobs only while the model does not think; `when-off`: only
   * where thinking is turned off aloud. Default `always`.
   */
  sampling?: "always" | "without-thinking" | "when-off";
  /** What happens to parameters that no row names. Default `true` (accepted). */
  otherParameters?: boolean;
  reasoning?: ReasoningSupport;
  /** Whether earlier thinking may be sent back: `own` = blocks this provider made, `any` = any text, `none`. */
  replayThinking?: "own" | "any" | "none";
  images?: boolean;
  /** Files by id in the provider's own store. @default true */
  fileIds?: boolean;
  documents?: boolean;
  /** Documents by URL; absent: as `documents`. */
  documentURLs?: boolean;
  audio?: boolean;
  /** Forced tool choice (`required`, a named tool). */
  forcedToolChoice?: boolean | "not-with-thinking";
  tools?: boolean;
  outputFormats?: readonly ("json" | "json-schema")[];
  /** Whether an output format may stand beside tools. @default true */
  outputFormatWithTools?: boolean;
  /** JSON without a schema is refused unless the word is said. @default false */
  jsonByName?: boolean;
  /** Whether tools that the provider runs may stand beside the caller's. @default true */
  hostedWithFunctions?: boolean;
  /** Whether the model's turn may end with thinking. @default true */
  thinkingLast?: boolean;
  /** What schemas of outputs and tools may hold; absent: anything. */
  schemas?: SchemaRules;
  /** Tools that take free text. @default false */
  customTools?: boolean;
  /**
   * The model can search the web by itself; `true`: with every wish. Absent: a tool of the target's own dialect goes
   * out as it came, any other is dropped.
   */
  webSearch?: boolean | WebSearchSupport;
  /** Messages may say who speaks. @default false */
  messageNames?: boolean;
  /** What a document may say beside its content. @default all of it */
  documentNotes?: readonly ("title" | "filename" | "context")[];
  /** Longer ids of users and conversations are refused: a digest stands for them. */
  maxIdLength?: number;
  /** Ids that do not match become `length` characters of base62, the same for the same id. */
  toolCallId?: { pattern: RegExp; length: number };
  toolName?: { pattern: RegExp; maxLength: number };
  /**
   * Where a system message may stand: at the `start` only, also `after-user` (behind a user turn, and last or before
   * the assistant), or `anywhere`. Others are folded into the user's text, every word of them. @default "anywhere"
   */
  systemMessages?: "start" | "after-user" | "anywhere";
  /** Who may speak first. @default "any" */
  firstMessage?: "user" | "user-or-system" | "any";
  /** What stands between a tool result and the user's text: nothing (`native`) or a short assistant turn. */
  userAfterTool?: "native" | "bridge";
  /** Prompt-cache marks are understood. */
  cacheMarks?: boolean;
  /** A trailing assistant message that the model continues; `trimmed`: without white space at its end. */
  prefill?: boolean | "trimmed";
  maxStopSequences?: number;
  /** Most output tokens. */
  maxOutputTokens?: number;
  /** Least bound on the output that is accepted. */
  minOutputTokens?: number;
  /** The target refuses requests without a bound on the output: this is sent then. */
  defaultMaxTokens?: number;
  contextTokens?: number;
  /** Retired: answered by its successor, loudly. */
  successor?: string;
  retired?: string;
  /** Keys of `capabilities.json` in the project's reference where the facts come from. */
  source?: readonly string[];
}

/** What a target takes of JSON Schema. What it does not take is moved into the description, and reported. */
export interface SchemaRules {
  /**
   * Which schemas they hold for. `strict`: of strict tools and strict outputs; one that cannot be adapted goes out as
   * not strict. `output`: of strict tools and every output; an output that cannot be adapted becomes an instruction.
   * `all`: of every tool and output. @default "output"
   */
  of?: "strict" | "output" | "all";
  /** Keywords that are accepted; absent: all but `refused`. With rules that take others away, none that negates them. */
  accepted?: readonly string[];
  refused?: readonly string[];
  /** Keywords that are accepted with some values only. */
  values?: Readonly<Record<string, (value: unknown) => boolean>>;
  /** Objects must say `additionalProperties: false`. */
  closedObjects?: boolean;
  /** Every property must be in `required`; optional ones become nullable. */
  allRequired?: boolean;
  /** The whole must be an object. */
  objectRoot?: boolean;
  /** Objects must say `properties` and arrays `items`, in every schema, strict or not. */
  explicitShapes?: boolean;
  /** Nothing may stand beside a `$ref`. */
  bareRefs?: boolean;
  /** `const` becomes an `enum` of one. */
  constAsEnum?: boolean;
  /** Values of `format` that are accepted; absent: all. */
  formats?: readonly string[];
  /** A schema may refer to itself. @default true */
  recursive?: boolean;
  /** Most strict tools of a request, and of all its strict schemas together: optional properties and unions. */
  most?: { strictTools: number; optional: number; unions: number };
}

/** How a target searches the web. */
export interface WebSearchSupport {
  /** The tool as it is written there, where the dialect has several forms. */
  as?: Record<string, unknown>;
  /** Wishes that it takes; the others are dropped. */
  takes: readonly ("allowedDomains" | "blockedDomains" | "userLocation" | "maxUses")[];
}

export interface CapabilityRow extends Capabilities {
  /** Matched against the upstream model name. */
  match: RegExp;
  /** Holds in one dialect only, where the provider speaks several. */
  dialect?: string;
}

/** What is done to a member that an upstream refused. Exactly one of them. */
export interface Remedy {
  drop?: true;
  /** The values it takes; others become the nearest of them, or go. */
  accepted?: readonly string[];
  max?: number;
  min?: number;
  /** The name it goes by here. */
  rename?: string;
}

/** What one refusal taught of a target. */
export interface Lesson extends Remedy {
  /** Path in the request as it goes out; `*` is every item of an array: `messages.*.name`. */
  path: string;
  /** Epoch ms at which it is forgotten. */
  until?: number;
}

/** Price per million tokens in US dollars; `"free"` for self-hosted. */
export type PriceOverride = "free" | { input: number; output: number; cacheRead?: number; cacheWrite?: number };

/** Someone to send requests to. Made by a provider factory; named by its key in `providers`. */
export interface Provider {
  /** `mistral`, `openai-compatible`: which kind it is. */
  readonly type: string;
  /** Its main dialect. */
  readonly dialect: Dialect;
  /** The dialect in which it is asked on behalf of a caller who speaks `caller`. `request` is decoded when called. */
  dialectFor(caller: Dialect, model: string, request: () => ChatRequest): Dialect;
  /** Every dialect it speaks, the main one first. */
  readonly dialects: readonly Dialect[];
  readonly operations: ReadonlySet<ProviderOperation>;
  /** Law the company is under: `EU`, `US`. */
  readonly jurisdiction?: string | undefined;
  /** Where it computes. */
  readonly region?: string | undefined;
  readonly baseURL: string;
  /** Whether a request of the same dialect may go through byte for byte. */
  readonly passThrough: boolean;
  /** The dialect in which the upstream counts tokens without a paid call, if it does. */
  readonly countDialect?: Dialect | undefined;
  /** Raw request and answer of each attempt go to the logger. */
  readonly capture: boolean;
  readonly price?: PriceOverride | Readonly<Record<string, PriceOverride>> | undefined;
  /** Id of this vendor in the price data. */
  readonly priceId?: string | undefined;
  /** Model names that are known without asking, for listings. */
  readonly models: readonly string[];
  /** What a model takes. @param dialect id; default the main one */
  capabilities(model: string, dialect?: string): Capabilities;
  send: Transport;
  close?(): Promise<void>;
}

/** A concrete place to send a request to. */
export interface Target {
  /** Key in `providers`. */
  readonly providerName: string;
  readonly provider: Provider;
  /** The upstream's name of the model. */
  readonly model: string;
  /** `provider/model` */
  readonly name: string;
}

export function newTarget(providerName: string, provider: Provider, model: string): Target {
  return { providerName, provider, model, name: `${providerName}/${model}` };
}
