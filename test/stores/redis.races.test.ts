import { Redis } from "ioredis";
import { afterAll, describe, test } from "vitest";
import { redisStore } from "../../src/stores/redis.ts";
import { type RaceOptions, race } from "./children/races.ts";
import { deleteKeys, killClients, REDIS_URL, randomName, whyNoRedis } from "./children/servers.ts";

const why = await whyNoRedis();

describe.skipIf(why)(`several processes with one Redis${why}`, () => {
  const client = new Redis(REDIS_URL, { lazyConnect: true });
  const names: string[] = [];
  afterAll(async () => {
    for (const name of names) await deleteKeys(client, name);
    client.disconnect();
  });

  function run(kind: RaceOptions["kind"], more: (name: string) => Partial<RaceOptions> = () => ({})): Promise<void> {
    const name = randomName();
    names.push(name);
    return race({ kind, name, store: redisStore({ client }, { prefix: name }), ...more(name) });
  }

  for (const kind of ["redis", "leased redis"] as const) {
    describe(kind, () => {
      test("race for a cap: it is used up and never passed", () => run(kind, () => ({ processes: 6, inFlight: 32 })));
      test("though one of them is killed", () => run(kind, () => ({ kill: true })));
      test("though their connections break again and again", () =>
        run(kind, (name) => ({ accident: () => killClients(client, name) })));
    });
  }
});
