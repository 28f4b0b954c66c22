import { createHash } from "node:crypto";
import type { Exchange } from "../../core/exchange.ts";
import type { ChatRequest, Message } from "../../core/request.ts";

export interface KeyOptions {
  scope: "key" | "team" | "gateway";
  vary: { headers: readonly string[]; tags: boolean };
  /** Changed by the operator to forget everything. */
  version: string;
}

/** Where callers may present who they are. */
const CREDENTIALS = ["authorization", "x-api-key", "x-goog-api-key"];

/** Headers that go along to an upstream, but name the call or the client: they do not change the answer. */
const NOISE =
  /version$|request-id$|^idempotency-key$|(session|agent|prompt)-id$|-agent-type$|request-class$|api-client$|timeout$|^user-agent$/;

/**
 * Who shares answers. By key: everything that is known of the caller together. Callers of whom nothing is known are told
 * apart by the credentials that they present, so that an `auth()` that names nobody still keeps them apart.
 */
export function tenantOf({ identity, headers }: Exchange, scope: KeyOptions["scope"]): unknown {
  if (scope === "gateway") return "gateway";
  const { key, user, team } = identity;
  // Who is in no team shares with nobody, and not with all the others who are in none.
  if (scope === "team" && team !== undefined) return { team };
  if (key !== undefined || user !== undefined || team !== undefined) return { key, user, team };
  return { credentials: CREDENTIALS.map((name) => headers[name] ?? null) };
}

/** Key of the exact answer: a hash, so that no store ever sees a prompt or a credential. */
export function exactKey(exchange: Exchange, request: ChatRequest, options: KeyOptions): string {
  return hash({ kind: "exact", ...material(exchange, options), request: stripped(request) });
}

/** The same for everything but the words of the last turn, which is what the semantic cache compares. */
export function partitionKey(exchange: Exchange, request: ChatRequest, model: string, options: KeyOptions): string {
  const { messages, ...rest } = stripped(request);
  const { content: _, ...last } = messages.at(-1)!;
  return hash({
    kind: "semantic",
    ...material(exchange, options),
    request: rest,
    before: messages.slice(0, -1),
    last,
    model,
  });
}

/** Characters; longer ones are hardly ever asked twice in other words, and embedding models cut them. */
const MAX_QUESTION = 8_000;

/** What a semantic cache compares: the text of the last turn, if it is the user's and nothing but text. */
export function questionOf({ messages }: ChatRequest): string | undefined {
  const last = messages.at(-1);
  if (last?.role !== "user" || last.content.length === 0) return undefined;
  const texts = last.content.map((part) => (part.type === "text" ? part.text : undefined));
  const question = texts.join("\n");
  return texts.includes(undefined) || question.length > MAX_QUESTION ? undefined : question;
}

/** What the caller sent, as sent but for the order of members. */
export function fingerprint({ operation, dialect, body }: Exchange): string {
  return hash({ operation, dialect: dialect.id, path: body.path, body: body.json });
}

export function hash(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("base64url");
}

function material(exchange: Exchange, { scope, vary, version }: KeyOptions) {
  const { dialect, headers, identity, operation } = exchange;
  const named = [...dialect.forwardHeaders.filter((name) => !NOISE.test(name)), ...vary.headers];
  return {
    version,
    tenant: tenantOf(exchange, scope),
    operation,
    headers: Object.fromEntries(named.map((name) => [name, headers[name]])),
    ...(vary.tags && { tags: [...(identity.tags ?? [])].sort() }),
  };
}

/** Without what does not change the answer. Extensions stay: nobody knows what they mean. */
function stripped(request: ChatRequest): Omit<ChatRequest, "stream"> & { messages: Message[] } {
  const { stream, includeUsage, userId, sessionId, metadata, ...rest } = request;
  return rest;
}

/** JSON with the members of every object in order; `undefined` members are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((each) => canonicalJson(each ?? null)).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = value as Record<string, unknown>;
  const parts: string[] = [];
  for (const name of Object.keys(members).sort()) {
    if (members[name] !== undefined) parts.push(`${JSON.stringify(name)}:${canonicalJson(members[name])}`);
  }
  return `{${parts.join(",")}}`;
}
