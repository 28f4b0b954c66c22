const LONGEST_SECONDS = 32 * 24 * 3_600;

/** Whole seconds, from `retry-after-ms` or `retry-after` (seconds or a date); nonsense and the past are ignored. */
export function retryAfter(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const ms = Number(headers["retry-after-ms"] ?? Number.NaN);
  if (Number.isFinite(ms) && ms > 0) return Math.ceil(ms / 1_000);
  const value = headers["retry-after"];
  if (value === undefined) return undefined;
  const seconds = Number(value);
  const wait = Number.isFinite(seconds) ? seconds : (Date.parse(value) - now) / 1_000;
  return wait > 0 && wait < LONGEST_SECONDS ? Math.ceil(wait) : undefined;
}
