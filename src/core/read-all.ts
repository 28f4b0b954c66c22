import { GatewayError } from "./errors.ts";
import type { ByteSource } from "./provider.ts";

/** The same bytes, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Reads a body whole. @throws GatewayError `upstream_invalid` above the limit */
export function readAll(source: ByteSource, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    source.start({
      data(chunk) {
        size += chunk.length;
        if (size > limit) {
          source.cancel();
          reject(new GatewayError("upstream_invalid", `The upstream's answer is larger than ${limit} bytes`));
          return;
        }
        chunks.push(chunk);
      },
      end: () => resolve(chunks.length === 1 ? asBuffer(chunks[0]!) : Buffer.concat(chunks)),
      error: reject,
    });
  });
}
