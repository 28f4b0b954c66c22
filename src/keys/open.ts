import type { KeyTable } from "./table.ts";

/** Where keys may be kept, in configurations and on the command line. */
export const KEY_ADDRESS = /^(sqlite:.|postgres(ql)?:\/\/.)/;

/** Opens the table at `sqlite:FILE` or `postgres://HOST/DATABASE`, and makes it on first use. */
export async function openKeyTable(address: string): Promise<KeyTable> {
  if (!address.startsWith("sqlite:")) {
    return (await import("./postgres.ts")).postgresKeys({ connectionString: address }, { migrate: true });
  }
  return (await import("./sqlite.ts")).sqliteKeys(address.slice("sqlite:".length));
}
