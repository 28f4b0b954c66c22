import type { Result } from "./run.ts";

/** The table per provider, skipped files with their reasons, failures, and last `N passed, N failed`. */
export function report(results: readonly Result[], verbose: boolean): { lines: string[]; failed: number } {
  const skipped = results.filter((result) => result.skipped !== undefined);
  const failures = results.filter(({ problems }) => problems.length > 0);
  const passed = results.length - skipped.length - failures.length;
  const reasons = Map.groupBy(skipped, ({ provider, skipped: reason }) => `${provider}: ${reason}`);
  const lines = [
    ...table(results),
    "",
    ...[...reasons].map(([reason, files]) => `skipped ${files.length}  ${reason}`),
    ...(verbose ? skipped.map(({ file, skipped: reason }) => `skipped  ${file}: ${reason}`) : []),
    "",
    ...failures.flatMap((failure) => failureLines(failure, verbose)),
    `${passed} passed, ${failures.length} failed`,
  ];
  return { lines, failed: failures.length };
}

function failureLines({ file, problems }: Result, verbose: boolean): string[] {
  if (verbose) return [`FAILED  ${file}`, ...problems.map((problem) => `    ${problem}`)];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return [`FAILED  ${file}: ${problems[0]}${more}`];
}

function table(results: readonly Result[]): string[] {
  const rows = [...Map.groupBy(results, ({ provider }) => provider)].map(([provider, mine]) => {
    const skipped = mine.filter((result) => result.skipped !== undefined).length;
    const failed = mine.filter(({ problems }) => problems.length > 0).length;
    return [provider, mine.length - skipped - failed, failed, skipped] as const;
  });
  const width = Math.max(8, ...rows.map(([provider]) => provider.length));
  const line = ([provider, ...numbers]: readonly (string | number)[]) =>
    String(provider).padEnd(width) + numbers.map((number) => String(number).padStart(9)).join("");
  return [line(["provider", "passed", "failed", "skipped"]), ...rows.map(line)];
}
