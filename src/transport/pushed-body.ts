import type { ByteSink, ByteSource } from "../core/provider.ts";

/** A body that comes by itself: buffers what is there before `start`, so that nothing is lost until the first reader. */
export abstract class PushedBody implements ByteSource {
  #sink: ByteSink | undefined;
  #early: Uint8Array[] | undefined;
  #ended = false;
  #error: Error | undefined;
  #cancelled = false;

  abstract pause(): void;
  abstract resume(): void;
  /** Closes the connection. */
  protected abstract stop(): void;

  start(sink: ByteSink): void {
    this.#sink = sink;
    const early = this.#early;
    this.#early = undefined;
    for (const chunk of early ?? []) {
      if (this.#cancelled) return;
      sink.data(chunk);
    }
    if (this.#cancelled) return;
    if (this.#error) sink.error(this.#error);
    else if (this.#ended) sink.end();
  }
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#early = undefined;
    if (!this.#ended && !this.#error) this.stop();
  }
  protected push(chunk: Uint8Array): void {
    if (this.#cancelled) return;
    if (this.#sink) this.#sink.data(chunk);
    else if (this.#early) this.#early.push(chunk);
    else this.#early = [chunk];
  }
  protected end(): void {
    this.#ended = true;
    if (!this.#cancelled) this.#sink?.end();
  }
  protected break(error: Error): void {
    if (this.#ended || this.#error) return;
    this.#error = error;
    if (!this.#cancelled) this.#sink?.error(error);
  }
}
