import type { EmbeddingRequest, EmbeddingResponse } from "./embeddings.ts";
import { GatewayError } from "./errors.ts";
import type { StreamEvent } from "./events.ts";
import type { ChatRequest, ChatResponse } from "./request.ts";
import type { Usage } from "./usage.ts";
import type { JsonObject } from "./util.ts";

/** One server-sent event. `data` is JSON-encoded unless it is a string, which goes out as it is (`[DONE]`). */
export interface Frame {
  event?: string;
  data: unknown;
}

/** One server-sent event as it came. */
export interface RawFrame {
  event?: string | undefined;
  data: string;
}

export type Operation = "chat" | "count-tokens" | "embeddings" | "models";

/** What a path says where other dialects say it in the body. */
export interface PathFacts {
  model?: string | undefined;
  stream?: boolean | undefined;
}

/** Top-level members of a request, each parsed when it is asked for. */
export interface MemberReader {
  member(name: string): unknown;
  /** Whether this ASCII text stands anywhere in it, which costs less to find out. Absent: it may. */
  mentions?(text: string): boolean;
}

/** How much output a request asks for. */
export interface Bounds {
  /** Tokens per answer. */
  maxTokens?: number | undefined;
  /** Number of answers. */
  choices: number;
}

/** What a codec may know of the exchange when it writes for the caller. No codec has a clock or randomness of its own. */
export interface CallerContext {
  /** The model as the caller asked for it: answers carry this name. */
  model: string;
  /** Unique per exchange, `[0-9a-zA-Z]+`: source of message ids where the upstream has none. */
  id: string;
  /** Unix seconds. */
  created: number;
  /** Estimate for dialects that must tell the input before the upstream has (`message_start`). */
  inputTokens: number;
  /** Chat: whether the caller asked for a usage chunk. */
  includeUsage: boolean;
  /** Whether the caller wants to read thinking; `false` hides its text but keeps the blocks. */
  showThinking: boolean;
  /** The caller's own request, for dialects whose answers repeat parts of it. */
  request?: MemberReader;
}

/** Upstream stream → canonical events. A pure push machine; one per stream. */
export interface StreamDecoder {
  feed(frame: RawFrame): StreamEvent[];
  /** The bytes ended. If the answer was finished, closes what is open; else emits an `error` event and leaves it open. */
  end(): StreamEvent[];
}

/** Canonical events → caller's frames. A pure push machine; one per stream. */
export interface StreamEncoder {
  encode(event: StreamEvent): Frame[];
  /** After the last event: what was held back (usage, stop), closing frames. */
  end(): Frame[];
  /** Ends the stream with an error of the caller's dialect; nothing follows. */
  error(error: GatewayError): Frame[];
}

export interface ErrorAnswer {
  status: number;
  body: JsonObject;
}

export interface Route {
  method: "GET" | "POST" | "HEAD";
  /** Literal path, or with one `{model}` segment. */
  path: string;
  operation: Operation | "hello";
  /** Whether the answer is a stream, where the path says it and not the body. */
  stream?: boolean;
}

/** A model as it is listed to callers. */
export interface ModelInfo {
  id: string;
  displayName?: string;
  ownedBy?: string;
}

/**
 * One wire format: a pure codec between JSON and the canonical form, in both directions. Never knows a vendor.
 * Requests are decoded strictly (the caller gets a typed error with the path), answers loosely.
 */
export interface Dialect {
  readonly id: string;
  /** Paths it is served under, and their operations. */
  readonly routes: readonly Route[];
  /** Prefix under which the routes are served too: `/anthropic`. */
  readonly prefix: string;
  /** Request headers that tell its callers from those of another dialect, where both are served under one path. */
  readonly knownBy?: readonly string[];
  /** Request headers that belong to the dialect and go along to an upstream of the same dialect. */
  readonly forwardHeaders: readonly string[];
  /** Response headers of an upstream of the same dialect that go back to the caller. */
  readonly returnHeaders: readonly string[];
  /** Models that clients of this dialect ask for by themselves; listed where a rule's pattern covers them. */
  readonly clientModels?: readonly string[];
  /** Where a request bounds its output. */
  readonly bounds: {
    /** Output tokens asked for per answer, and how many answers. @throws GatewayError `invalid_request` */
    read(body: MemberReader): Bounds;
    /** For a pass-through: top-level members (JSON text by name) that bound the output at `tokens`. */
    write(body: MemberReader, tokens: number): Record<string, string>;
  };
  /** The model stands in the path: a pass-through has no member to put it in. @default false */
  readonly modelInPath?: boolean;

  /**
   * Where a stream tells its usage only when asked to: the top-level member, and what it has to be (JSON text) given
   * what it is; `undefined` when it asks for usage already.
   */
  readonly streamUsage?: {
    readonly member: string;
    ask(current: unknown): string | undefined;
    /** What then stands in every frame, and only who asked is shown. */
    readonly hidden: string;
  };

  /** What only our own answers hold, and only we can read back: a request with one of them is rewritten, not passed on. */
  readonly ownMarks: readonly string[];

  /** Path of the chat operation below a provider's base URL. */
  chatPath(model: string, stream: boolean): string;

  /** @throws GatewayError `invalid_request` with `param` */
  decodeRequest(body: unknown, path?: PathFacts): ChatRequest;
  /** Writes a request that `fit` has made acceptable. `model` is the upstream's name. */
  encodeRequest(request: ChatRequest, model: string): JsonObject;

  /** @throws GatewayError `upstream_invalid` */
  decodeResponse(body: unknown): ChatResponse;
  encodeResponse(response: ChatResponse, context: CallerContext): JsonObject;
  /** For pass-through: what a whole answer tells of its usage and model, without reading the rest. */
  usageOf(body: JsonObject): { usage?: Usage | undefined; model?: string | undefined };

  streamDecoder(): StreamDecoder;
  streamEncoder(context: CallerContext): StreamEncoder;
  /** Sent in silent gaps so that nobody on the way gives up. */
  readonly ping: string;
  /**
   * For pass-through: finds the members in which the deltas of a stream differ ({@link deltaMembers}). What is like a
   * decoded delta in all else need not be decoded. Absent: every frame is.
   */
  readonly deltaMembers?: RegExp;
  /** The frame after which nothing follows, though the upstream may be slow to close (`[DONE]`, `message_stop`). */
  isLast?(frame: RawFrame): boolean;

  /** An upstream's error answer, by its shape. `body` is parsed JSON or text. */
  decodeError(status: number, body: unknown): GatewayError;
  encodeError(error: GatewayError, requestId: string): ErrorAnswer;

  encodeModels(models: readonly ModelInfo[], one: boolean): JsonObject;

  /** Counting tokens: as caller (`decodeRequest` of the count body, answer) and as provider (path, answer). */
  readonly countTokens?: {
    decodeRequest(body: unknown, path?: PathFacts): ChatRequest;
    encodeResponse(inputTokens: number): JsonObject;
    /** Upstream path, if upstreams of this dialect usually can count. */
    path?(model: string): string;
    encodeRequest?(request: ChatRequest, model: string): JsonObject;
    decodeResponse?(body: unknown): number | undefined;
  };

  /** Embeddings: as caller and as provider. */
  readonly embeddings?: {
    /** Upstream path below the base URL. */
    path(request: EmbeddingRequest, model: string): string;
    /** @throws GatewayError `invalid_request` */
    decodeRequest(body: unknown, path?: PathFacts): EmbeddingRequest;
    encodeRequest(request: EmbeddingRequest, model: string): JsonObject;
    /** @throws GatewayError `upstream_invalid` */
    decodeResponse(body: unknown): EmbeddingResponse;
    encodeResponse(response: EmbeddingResponse, request: EmbeddingRequest, model: string): JsonObject;
  };
}

const MAX_TOKENS = Number.MAX_SAFE_INTEGER;

/** Bounds of dialects that keep them in top-level members. `fields`: the first is written where none is present. */
export function topLevelBounds(fields: readonly string[], countField?: string): Dialect["bounds"] {
  return {
    read(body) {
      let maxTokens: number | undefined;
      for (const field of fields) {
        const value = body.member(field) ?? undefined;
        if (value === undefined) continue;
        maxTokens = Math.min(maxTokens ?? Number.POSITIVE_INFINITY, wholeNumber(value, field, 0, MAX_TOKENS));
      }
      const count = (countField && body.member(countField)) ?? 1;
      return { maxTokens, choices: wholeNumber(count, countField ?? "", 1, 128) };
    },
    write(body, tokens) {
      const written: Record<string, string> = {};
      for (const field of fields) if ((body.member(field) ?? undefined) !== undefined) written[field] = String(tokens);
      return Object.keys(written).length > 0 ? written : { [fields[0]!]: String(tokens) };
    },
  };
}

/** @throws GatewayError `invalid_request` */
export function wholeNumber(value: unknown, field: string, min: number, max: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  const range = max === MAX_TOKENS ? "" : ` from ${min} to ${max}`;
  throw new GatewayError("invalid_request", `\`${field}\` must be a whole number${range}`, { param: field });
}

/**
 * Finds members of a frame by their names. `text`: strings of the answer; `other`: strings and whole numbers that mean
 * nothing to it, such as counters and padding. Groups: the name of a text, and how the value begins.
 */
export function deltaMembers({ text, other }: { text: readonly string[]; other: readonly string[] }): RegExp {
  return new RegExp(`"(?:(${text.join("|")})|${other.join("|")})": ?("|\\d+)`, "g");
}
