import type { JsonObject } from "../../../src/core/util.ts";
import { type Facts, object, parsed } from "../facts.ts";
import type { ServerEvent } from "../sse.ts";

/** What a request says, by a plain reading of its body. */
export interface Said {
  /** Instructions, texts of turns and of tool results. */
  texts: string[];
  calls: { name: string; input: unknown }[];
  /** `schema` for function tools only. */
  tools: { name: string; schema?: unknown }[];
  /** All other top-level members. */
  parameters: JsonObject;
}

export const said = (): Said => ({ texts: [], calls: [], tools: [], parameters: {} });

/** A plain reading of one wire format, written without its codec: the oracle of the replay. */
export interface Wire {
  /** Id of the dialect that must agree with it. */
  dialect: string;
  /** Paths on which it is spoken. */
  path: RegExp;
  isWhole(body: JsonObject): boolean;
  /** Whether a payload can only stand in a stream of this wire. */
  isPiece(payload: JsonObject): boolean;
  /** An error body that only this wire has. */
  isError(body: JsonObject): boolean;
  whole(body: JsonObject): Facts;
  stream(events: readonly ServerEvent[]): Facts;
  request(body: JsonObject): Said;
  errorMessage(body: JsonObject): string;
  /** The first and the last payload of an answer, where the wire marks both. */
  marks?: { first(payload: JsonObject): boolean; last(payload: JsonObject): boolean };
  /** What a server sends last beside its payloads. */
  end?: ServerEvent;
}

export function payloads(events: readonly ServerEvent[]): JsonObject[] {
  return events.map(({ data }) => object(parsed(data)));
}
