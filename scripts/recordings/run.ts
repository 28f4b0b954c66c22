import type { Dialect } from "../../src/core/dialect.ts";
import { isObject, type JsonObject } from "../../src/core/util.ts";
import { canonicalFacts } from "./canonical.ts";
import { checkEmbeddingRequest, checkEmbeddings } from "./checks/embeddings.ts";
import { checkBroken, checkEncoding } from "./checks/encode.ts";
import { checkError, checkFailed } from "./checks/error.ts";
import { checkRequest } from "./checks/request.ts";
import { checkStream } from "./checks/stream.ts";
import { type Classified, classify } from "./classify.ts";
import { loadDialects, type Upstream, upstreams } from "./dialects.ts";
import { compareFacts } from "./facts.ts";
import { loadFolder, type Recording, type Unreadable } from "./load.ts";
import { collect } from "./replay.ts";
import type { ServerEvent } from "./sse.ts";
import type { Wire } from "./wires/index.ts";

export interface Result {
  file: string;
  provider: string;
  /** Why it was not replayed. */
  skipped?: string;
  /** One line for each invariant that does not hold; none: passed. */
  problems: string[];
}

export interface RunOptions {
  /** Part of the paths to replay. */
  only?: string;
  /** Codecs by id. @default those in the tree */
  dialects?: ReadonlyMap<string, Dialect>;
}

/** Replays every recording below a folder. */
export async function* runFolder(folder: string, { only = "", dialects }: RunOptions = {}): AsyncGenerator<Result> {
  const bench: Bench = { dialects: dialects ?? (await loadDialects()), upstreams: upstreams() };
  for (const recording of loadFolder(folder))
    if (recording.file.includes(only)) yield await replayOne(recording, bench);
}

interface Bench {
  dialects: ReadonlyMap<string, Dialect>;
  upstreams: readonly Upstream[];
}

async function replayOne(recording: Recording | Unreadable, bench: Bench): Promise<Result> {
  const { file, provider } = recording;
  if ("reason" in recording) return { file, provider, skipped: recording.reason, problems: [] };
  const found = classify(recording);
  const missing = missingCodec(found, bench);
  if (found.kind === "skip" || missing !== undefined)
    return { file, provider, skipped: found.kind === "skip" ? found.reason : missing!, problems: [] };
  const problems: string[] = [];
  const check = async (run: () => string[] | Promise<string[]>) => {
    try {
      problems.push(...(await run()));
    } catch (error) {
      problems.push(`throws ${error instanceof Error ? error.stack?.split("\n").slice(0, 3).join(" ") : error}`);
    }
  };
  await check(() => checkAnswer(found, recording, bench));
  await check(() => checkAsked(found, recording, bench));
  return { file, provider, problems: [...new Set(problems)] };
}

function missingCodec(found: Classified, { dialects }: Bench): string | undefined {
  if (found.kind === "skip") return undefined;
  const ids =
    found.kind === "error"
      ? found.wires.map(({ dialect }) => dialect)
      : [found.kind === "embeddings" ? found.dialect : found.wire.dialect];
  const dialect = ids.map((id) => dialects.get(id)).find((known) => known !== undefined);
  if (!dialect) return `no codec for ${ids.join(", ")} yet`;
  if (found.kind === "embeddings" && !dialect.embeddings) return `no embeddings in the codec for ${dialect.id} yet`;
  if (found.kind === "token-count" && !dialect.countTokens) return `no token count in the codec for ${dialect.id}`;
  return undefined;
}

async function checkAnswer(found: Classified, { answer }: Recording, { dialects }: Bench): Promise<string[]> {
  const callers = [...dialects.values()];
  switch (found.kind) {
    case "whole":
      return checkWhole(found.wire, dialects.get(found.wire.dialect)!, found.body, callers);
    case "stream": {
      const raw = answer.kind === "stream" && found.answers.length === 1 ? answer.raw : undefined;
      const problems: string[] = [];
      for (const events of found.answers)
        problems.push(...(await checkStreamed(found.wire, dialects.get(found.wire.dialect)!, events, raw, callers)));
      return problems;
    }
    case "error": {
      const problems: string[] = [];
      for (const wire of found.wires) {
        const dialect = dialects.get(wire.dialect);
        if (dialect) problems.push(...(await checkError(wire, dialect, found.status, found.body, callers)));
      }
      return problems;
    }
    case "embeddings":
      return checkEmbeddings(dialects.get(found.dialect)!, found.body, callers);
    case "token-count": {
      const count = dialects.get(found.wire.dialect)!.countTokens!.decodeResponse?.(found.body);
      return [found.body.input_tokens, found.body.totalTokens].includes(count) ? [] : [`token count: became ${count}`];
    }
    default:
      return [];
  }
}

async function checkWhole(wire: Wire, dialect: Dialect, body: JsonObject, callers: readonly Dialect[]) {
  const expected = wire.whole(body);
  if (expected.error !== undefined) return checkFailed(dialect, body, expected.error);
  const response = dialect.decodeResponse(body);
  const problems = compareFacts(expected, canonicalFacts(response)).map((problem) => `decoded: ${problem}`);
  for (const caller of callers) problems.push(...(await checkEncoding(response, undefined, wire.dialect, caller)));
  return problems;
}

async function checkStreamed(
  wire: Wire,
  dialect: Dialect,
  events: readonly ServerEvent[],
  raw: string | undefined,
  callers: readonly Dialect[],
): Promise<string[]> {
  const { decoded, problems } = checkStream(wire, dialect, events, raw);
  const broken = decoded.some(({ type }) => type === "error");
  for (const caller of callers) {
    const written = broken
      ? checkBroken(decoded, caller)
      : checkEncoding(collect(decoded), decoded, wire.dialect, caller);
    problems.push(...(await written));
  }
  return problems;
}

/** Requests that were answered well; those of refused ones may be wrong on purpose. */
function checkAsked(found: Classified, { request, status }: Recording, bench: Bench): string[] {
  if (!request || (status ?? 200) !== 200 || !isObject(request.body)) return [];
  if (found.kind === "embeddings")
    return checkEmbeddingRequest(bench.dialects.get(found.dialect)!, request.path, request.body);
  const wire = askedWire(found, request.path);
  const dialect = wire && bench.dialects.get(wire.dialect);
  if (!wire || !dialect) return [];
  const { path, body } = request;
  if (found.kind !== "token-count") return checkRequest(wire, dialect, { path, body }, bench.upstreams);
  const { countTokens } = dialect;
  if (!countTokens) return [];
  const counting = {
    ...dialect,
    decodeRequest: countTokens.decodeRequest,
    encodeRequest: countTokens.encodeRequest ?? dialect.encodeRequest,
  };
  return checkRequest(wire, counting, { path, body }, bench.upstreams);
}

function askedWire(found: Classified, path: string): Wire | undefined {
  if (found.kind === "token-count") return found.wire;
  return (found.kind === "whole" || found.kind === "stream") && found.wire.path.test(path) ? found.wire : undefined;
}
