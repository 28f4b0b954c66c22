import { createHash } from "node:crypto";

/**
 * A vector of length 1 that only depends on `seed`, in single precision. The shorter one is the beginning of the longer
 * one, made length 1 again, as with the real models.
 */
export function vectorFor(seed: string, dimensions: number): number[] {
  let state = createHash("sha256").update(seed).digest().readUInt32LE();
  const raw = Array.from({ length: dimensions }, () => {
    // Marsaglia's xorshift.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state / 2 ** 31;
  });
  const length = Math.hypot(...raw);
  return raw.map((value) => Math.fround(value / length));
}

/** Single precision, little endian, as Base64. */
export function base64Of(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString("base64");
}
