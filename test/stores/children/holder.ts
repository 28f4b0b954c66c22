/** Holds units and never gives them back. Arguments: file, counter prefix. Says "ready", then waits to be killed. */
import { sqliteStore } from "../../../src/stores/sqlite.ts";

const [path, name] = [process.argv[2]!, process.argv[3]!];
const store = sqliteStore(path);
for (const onExpire of ["release", "charge"] as const) {
  const counter = `${name} ${onExpire}`;
  const hold = { counter, bucket: 0, from: 0, step: 0, until: 4e15, fixed: 0, perUnit: 1, limit: null };
  store.reserve({ id: counter, fingerprint: "f", holds: [hold], want: 100, min: 100, ttlMs: 600_000, onExpire });
}
process.stdout.write("ready\n");
setInterval(() => {}, 1000);
