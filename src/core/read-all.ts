import { GatewayError } from "./errors.ts";
import type { ByteSink, ByteSource } from "./provider.ts";
import type { MaybePromise } from "./util.ts";

/** The same bytes, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Reads a body whole; without a promise where all of it is there, as it is when head and body came in one packet.
 * @throws GatewayError `upstream_invalid` above the limit, in the promise
 */
export function readAll(source: ByteSource, limit: number): MaybePromise<Buffer> {
  const whole = new WholeBody(source, limit);
  source.start(whole);
  return whole.bytes ?? whole.promised();
}

class WholeBody implements ByteSink {
  readonly #source: ByteSource;
  readonly #limit: number;
  #first: Uint8Array | undefined;
  #more: Uint8Array[] | undefined;
  #size = 0;
  #error: Error | undefined;
  #waiting: { resolve(bytes: Buffer): void; reject(error: Error): void } | undefined;
  bytes: Buffer | undefined;

  constructor(source: ByteSource, limit: number) {
    this.#source = source;
    this.#limit = limit;
  }

  promised(): Promise<Buffer> {
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  data(chunk: Uint8Array): void {
    this.#size += chunk.length;
    if (this.#size > this.#limit) {
      this.#source.cancel();
      this.error(new GatewayError("upstream_invalid", `The upstream's answer is larger than ${this.#limit} bytes`));
    } else if (!this.#first) this.#first = chunk;
    else {
      this.#more ??= [this.#first];
      this.#more.push(chunk);
    }
  }
  end(): void {
    this.bytes = this.#first && !this.#more ? asBuffer(this.#first) : Buffer.concat(this.#more ?? []);
    this.#waiting?.resolve(this.bytes);
  }
  error(error: Error): void {
    this.#error = error;
    this.#waiting?.reject(error);
  }
}
