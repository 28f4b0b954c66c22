import type { Frame } from "./dialect.ts";
import type { GatewayError } from "./errors.ts";
import { asBuffer } from "./read-all.ts";

/** Where a stream goes: a socket, a web stream, an in-process iterator. */
export interface StreamSink {
  /** Bytes of the caller's dialect, as the upstream sent them. */
  bytes(chunk: Uint8Array): void;
  /** Translated frames; all that came in one go became. */
  frames(frames: Frame[]): void;
  end(): void;
  /** The answer broke. `frames` tell it in the caller's dialect; nothing follows. */
  fail(error: GatewayError, frames: Frame[]): void;
}

/** A stream in the caller's dialect, pushed into one sink. Back-pressure by `pause` and `resume`. */
export interface StreamSource {
  /** Called once. What was buffered until then is delivered at once. */
  start(sink: StreamSink): void;
  pause(): void;
  resume(): void;
  /** The sink is gone: stops the upstream and settles what was streamed. */
  cancel(): void;
}

/** A whole answer, as bytes or as an object; either is made from the other when it is asked for. */
export class JsonBody {
  readonly type = "json";
  #bytes: Uint8Array | undefined;
  #text: string | undefined;
  #value: unknown;
  #parsed: boolean;

  /** @param content `text`: the bytes, where each of them is a character */
  constructor(content: { bytes: Uint8Array; text?: string | undefined; value?: unknown } | { value: unknown }) {
    if ("bytes" in content) {
      this.#bytes = content.bytes;
      this.#text = content.text;
    }
    this.#value = content.value;
    this.#parsed = content.value !== undefined;
  }
  get bytes(): Uint8Array {
    this.#bytes ??= Buffer.from(this.#text ?? JSON.stringify(this.#value));
    return this.#bytes;
  }
  /** The bytes as a string, where it is at hand and each of them is a character. */
  get text(): string | undefined {
    if (this.#bytes || this.#text !== undefined) return this.#text;
    const text = JSON.stringify(this.#value);
    if (Buffer.byteLength(text) === text.length) this.#text = text;
    else this.#bytes = Buffer.from(text);
    return this.#text;
  }
  get value(): unknown {
    if (!this.#parsed) {
      this.#value = JSON.parse(this.#text ?? asBuffer(this.#bytes!).toString());
      this.#parsed = true;
    }
    return this.#value;
  }
}

export interface StreamBody {
  readonly type: "stream";
  readonly source: StreamSource;
}

/** What a middleware returns: the answer in the caller's dialect. */
export interface Reply {
  status: number;
  /** Lower-case names. */
  headers: Record<string, string>;
  body: JsonBody | StreamBody;
}
