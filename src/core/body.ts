import type { Bounds, Dialect, Operation, PathFacts } from "./dialect.ts";
import { GatewayError } from "./errors.ts";
import { type Members, scanObject } from "./json-scan.ts";
import type { ChatRequest } from "./request.ts";
import { isObject, type JsonObject } from "./util.ts";

/**
 * The request as it came. Nothing is parsed before somebody needs it: the router needs the model, a pass-through
 * needs where three members stand, and only a translation needs the rest.
 */
export class RequestBody {
  #bytes: Buffer | undefined;
  #json: JsonObject | undefined;
  #members: Members | undefined;
  #canonical: ChatRequest | undefined;
  /** Members that were asked for, parsed. */
  #parsed: Map<string, unknown> | undefined;
  #bounds: Bounds | undefined;
  readonly path: PathFacts;
  /** Estimate of the input, made once for whoever asks first. */
  estimatedTokens: number | undefined;

  constructor(content: { bytes: Buffer } | { json: JsonObject }, path: PathFacts = {}) {
    if ("bytes" in content) this.#bytes = content.bytes;
    else this.#json = content.json;
    this.path = path;
  }

  /** As sent; made from the object for in-process callers. */
  get bytes(): Buffer {
    this.#bytes ??= Buffer.from(JSON.stringify(this.#json));
    return this.#bytes;
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  /** Where the top-level members stand in `bytes`. @throws GatewayError `invalid_request` on duplicates or no object */
  get members(): Members {
    this.#members ??= scanObject(this.bytes);
    return this.#members;
  }

  get json(): JsonObject {
    if (!this.#json) {
      // The scan first: it bounds the depth and refuses duplicate members, which JSON.parse would hide.
      void this.members;
      let value: unknown;
      try {
        value = JSON.parse(this.bytes.toString("utf8"));
      } catch (error) {
        throw new GatewayError("invalid_request", `The request body is not valid JSON: ${(error as Error).message}`);
      }
      if (!isObject(value)) throw new GatewayError("invalid_request", "The request body must be a JSON object");
      this.#json = value;
    }
    return this.#json;
  }

  /** A top-level member, parsed alone. */
  member(name: string): unknown {
    if (this.#json) return Object.hasOwn(this.#json, name) ? this.#json[name] : undefined;
    const place = this.members.get(name);
    if (!place) return undefined;
    this.#parsed ??= new Map();
    let value = this.#parsed.get(name);
    if (value !== undefined) return value;
    try {
      value = JSON.parse(this.bytes.toString("utf8", place.start, place.end));
    } catch {
      throw new GatewayError("invalid_request", `\`${name}\` is not valid JSON`, { param: name });
    }
    this.#parsed.set(name, value);
    return value;
  }

  /** How the request bounds its output; read once. @throws GatewayError `invalid_request` */
  bounds(dialect: Dialect): Bounds {
    this.#bounds ??= dialect.bounds.read(this);
    return this.#bounds;
  }

  get model(): string {
    if (this.path.model !== undefined) return this.path.model;
    const model = this.member("model");
    if (typeof model !== "string" || model === "") {
      throw new GatewayError("invalid_request", "`model` is required and must be a string", { param: "model" });
    }
    if (model.length > 256)
      throw new GatewayError("model_not_found", "`model` is longer than 256 characters", { param: "model" });
    return model;
  }

  get stream(): boolean {
    if (this.path.stream !== undefined) return this.path.stream;
    const stream = this.member("stream");
    if (stream !== undefined && stream !== null && typeof stream !== "boolean") {
      throw new GatewayError("invalid_request", "`stream` must be a boolean", { param: "stream" });
    }
    return stream === true;
  }

  canonical(dialect: Dialect, operation: Operation): ChatRequest {
    if (!this.#canonical) {
      this.#canonical =
        operation === "count-tokens" && dialect.countTokens
          ? dialect.countTokens.decodeRequest(this.json, this.path)
          : dialect.decodeRequest(this.json, this.path);
    }
    return this.#canonical;
  }

  /**
   * The bytes with top-level members replaced or added, nothing else touched.
   * @param values JSON text by member name
   */
  splice(values: Readonly<Record<string, string>>): Buffer | string {
    // An object of an in-process caller has no bytes yet that could be kept.
    if (!this.#bytes && this.#json) {
      const changed = Object.entries(values).map(([name, text]) => [name, JSON.parse(text) as unknown]);
      return JSON.stringify({ ...this.#json, ...Object.fromEntries(changed) });
    }
    const source = this.bytes;
    const edits: { start: number; end: number; text: string }[] = [];
    let added = "";
    for (const [name, text] of Object.entries(values)) {
      const place = this.members.get(name);
      if (place) edits.push({ start: place.start, end: place.end, text });
      else added += `${JSON.stringify(name)}:${text},`;
    }
    if (added !== "") {
      const open = this.members.open + 1;
      edits.push({ start: open, end: open, text: this.members.size === 0 ? added.slice(0, -1) : added });
    }
    edits.sort((a, b) => a.start - b.start);
    const pieces: Uint8Array[] = [];
    let at = 0;
    for (const edit of edits) {
      pieces.push(source.subarray(at, edit.start), Buffer.from(edit.text));
      at = edit.end;
    }
    pieces.push(source.subarray(at));
    return Buffer.concat(pieces);
  }
}
