import pg from "pg";
import { afterAll, describe, expect, test, vi } from "vitest";
import { InvalidUnits, type ReserveRequest } from "../../src/core/budget-store.ts";
import { PostgresStoreError, postgresStore } from "../../src/stores/postgres.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";
import { POSTGRES_URL, randomName, whyNoPostgres } from "./children/servers.ts";
import { raceOn } from "./children/stores.ts";

const DAY = 24 * 3_600_000;
const why = await whyNoPostgres();

describe.skipIf(why)(`with PostgreSQL${why}`, () => {
  const pool = new pg.Pool({ connectionString: POSTGRES_URL });
  pool.on("error", () => {});
  const schemas: string[] = [];
  const newSchema = () => {
    const schema = randomName();
    schemas.push(schema);
    return schema;
  };
  afterAll(async () => {
    for (const schema of schemas) await pool.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    await pool.end();
  });

  const schema = newSchema();
  const ready = why ? undefined : postgresStore({ pool }, { schema }).migrate();
  const empty = async () => {
    await ready;
    await pool.query(`TRUNCATE "${schema}".counter, "${schema}".reservation`);
    return postgresStore({ pool }, { schema });
  };
  storeSuite(
    {
      name: "PostgreSQL store",
      create: empty,
      reopen: () => postgresStore({ pool }, { schema }),
      processes: raceOn({ engine: "postgres", name: newSchema() }),
    },
    { describe, test },
  );

  const today = Math.floor(Date.now() / DAY) * DAY;
  const cap = { counter: "cap", bucket: today, from: today, step: 0, until: today + DAY } as const;
  const request = (id: string, more: Partial<ReserveRequest> = {}): ReserveRequest => ({
    id,
    fingerprint: "f",
    holds: [{ ...cap, fixed: 0, perUnit: 1, limit: 1000 }],
    want: 100,
    min: 100,
    ttlMs: 60_000,
    onExpire: "release",
    ...more,
  });

  describe("the schema of the PostgreSQL store", () => {
    test("is missed clearly, and made on request", async () => {
      const schema = newSchema();
      const store = postgresStore({ pool }, { schema });
      await expect(store.reserve(request("r"))).rejects.toMatchObject({ code: "store_schema" });
      await expect(store.reserve(request("r"))).rejects.toThrow("store.migrate()");
      await store.migrate();
      expect((await store.reserve(request("r"))).ok).toBe(true);
      await store.migrate();
      expect((await store.usage([cap]))[0]!.held).toBe(100);
    });

    test("can be made by many at once", async () => {
      const schema = newSchema();
      const stores = Array.from({ length: 8 }, () => postgresStore({ pool }, { schema, migrate: true }));
      const results = await Promise.all(stores.map((store, i) => store.reserve(request(`r${i}`))));
      expect(results.every((result) => result.ok)).toBe(true);
      expect((await stores[0]!.usage([cap]))[0]!.held).toBe(800);
    });

    test("is left alone by who found none, and comes to make it when others are at work on it", async () => {
      const schema = newSchema();
      const client = await pool.connect();
      const late = {
        async query(text: string, values?: unknown[]) {
          if (text.includes("CREATE")) {
            await postgresStore({ pool }, { schema }).migrate();
            await client.query("BEGIN");
            const atWork = { query: (text: string, values?: unknown[]) => client.query(text, values) };
            await postgresStore({ pool: atWork }, { schema }).reserve(request("r"));
          }
          return pool.query(text, values);
        },
      };
      try {
        const migrated = postgresStore({ pool: late }, { schema }).migrate();
        const waits = new Promise((resolve) => setTimeout(resolve, 5_000, "waits for their locks"));
        expect(await Promise.race([migrated, waits])).toBeUndefined();
      } finally {
        await client.query("COMMIT");
        client.release();
      }
    });

    test("of a newer Turnpike is refused", async () => {
      const schema = newSchema();
      await postgresStore({ pool }, { schema }).migrate();
      await pool.query(`UPDATE "${schema}".version SET version = 7`);
      const store = postgresStore({ pool }, { schema, migrate: true });
      for (const action of [() => store.reserve(request("r")), () => store.migrate()]) {
        await expect(action()).rejects.toMatchObject({ name: "PostgresStoreError", code: "store_schema" });
        await expect(action()).rejects.toThrow("has version 7, this Turnpike knows 1");
      }
    });

    test("may have any name", async () => {
      const schema = `${randomName()} "It's"`;
      const store = postgresStore({ pool }, { schema, migrate: true });
      expect((await store.reserve(request("r"))).ok).toBe(true);
      expect((await store.settle({ id: "r", actual: new Map(), holds: [] })).outcome).toBe("settled");
      await pool.query(`DROP SCHEMA "${schema.replaceAll('"', '""')}" CASCADE`);
    });

    test("stays small: old buckets and ended reservations go", async () => {
      const schema = newSchema();
      const store = postgresStore({ pool }, { schema, migrate: true });
      const old = { ...cap, bucket: today - 9 * DAY, from: today - 9 * DAY, until: today - 8 * DAY };
      const holds = Array.from({ length: 10 }, (_, i) => ({
        ...{ ...old, counter: `old ${i}` },
        ...{ fixed: 1, perUnit: 0, limit: null },
      }));
      await store.reserve(request("live", { holds: [holds[0]!] }));
      await store.reserve(request("old", { holds }));
      await store.settle({ id: "old", actual: new Map([["old 1", 1]]), holds });
      await pool.query(`UPDATE "${schema}".reservation SET ended_at = ended_at - ${DAY + 1}`);
      for (let i = 0; i < 70; i++) await store.release("nobody");
      await store.close();
      const count = async (table: string) =>
        Number((await pool.query(`SELECT count(*) AS n FROM "${schema}".${table}`)).rows[0].n);
      expect(await count("counter"), "the held one stays").toBe(1);
      expect(await count("reservation")).toBe(1);
    });
  });

  describe("the PostgreSQL store", () => {
    test("takes a connection string and ends its own pool", async () => {
      const store = postgresStore({ connectionString: POSTGRES_URL }, { schema: newSchema(), migrate: true });
      expect((await store.reserve(request("r"))).ok).toBe(true);
      await store.close();
      await store.close();
      await expect(store.reserve(request("s"))).rejects.toMatchObject({ code: "store_closed" });
      expect((await pool.query("SELECT 1")).rowCount).toBe(1);
    });

    test("repeats a call whose answer was lost: nothing counts twice, and the answer is the first one", async () => {
      const schema = newSchema();
      await postgresStore({ pool }, { schema }).migrate();
      const lossy = {
        lost: new Set<unknown>(),
        async query(text: string, values?: unknown[]) {
          const answer = await pool.query(text, values);
          const what = values?.[0];
          if (/reserve|finish|renew/.test(text) && !lossy.lost.has(what)) {
            lossy.lost.add(what);
            throw new Error("Connection terminated unexpectedly");
          }
          return answer;
        },
      };
      const store = postgresStore({ pool: lossy }, { schema });
      expect(await store.reserve(request("r"))).toMatchObject({ ok: true, replayed: false, granted: 100 });
      await store.renew({ id: "r", ttlMs: 60_000, charge: new Map([["cap", 30]]) });
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 30, held: 70 });
      const settle = { id: "r", actual: new Map([["cap", 90]]), holds: request("r").holds };
      expect(await store.settle(settle)).toEqual({ outcome: "settled", overrun: 20 });
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 120, held: 0 });
      await store.reserve(request("s"));
      expect(await store.release("s")).toEqual({ released: true });
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 120, held: 0 });
      expect(lossy.lost.size).toBe(5);
    });

    test("makes a reserve wait for one of a neighbouring bucket of its rolling window", async () => {
      const store = await empty();
      const at = (bucket: number) => ({
        holds: [
          {
            counter: "roll",
            bucket,
            from: bucket - 10_000,
            step: 1000,
            until: bucket + 11_000,
            fixed: 0,
            perUnit: 1,
            limit: 100,
          },
        ],
      });
      const client = await pool.connect();
      await client.query("BEGIN");
      const first = postgresStore({ pool: { query: (text, values) => client.query(text, values) } }, { schema });
      expect((await first.reserve(request("first", at(today)))).ok).toBe(true);
      const second = store.reserve(request("second", at(today + 1000)));
      const winner = await Promise.race([second, new Promise((resolve) => setTimeout(resolve, 100, "still waiting"))]);
      expect(winner).toBe("still waiting");
      await client.query("COMMIT");
      client.release();
      expect(await second).toMatchObject({ ok: false, denied: [{ counter: "roll", held: 100, needed: 100 }] });
    });

    test("works with a stricter isolation as the pool's default", async () => {
      await empty();
      const strict = new pg.Pool({
        connectionString: POSTGRES_URL,
        options: "-c default_transaction_isolation=serializable",
      });
      const store = postgresStore({ pool: strict }, { schema });
      const results = await Promise.all(Array.from({ length: 8 }, (_, i) => store.reserve(request(`r${i}`))));
      expect(results.every((result) => result.ok)).toBe(true);
      expect((await store.usage([cap]))[0]!.held).toBe(800);
      await strict.end();
    });

    test("fails with its cause when the server is away", async () => {
      const store = postgresStore({ connectionString: "postgres://127.0.0.1:1/none" });
      const error = await store.usage([cap]).catch((error) => error);
      expect(error).toBeInstanceOf(PostgresStoreError);
      expect(error).toMatchObject({ code: "store_failed", cause: expect.any(Error) });
      await store.close();
    });

    test("refuses a charge that no hold names before it writes", async () => {
      const store = await empty();
      await store.reserve(request("r"));
      const renewal = { id: "r", ttlMs: 60_000, charge: new Map([["other", 1]]) };
      await expect(store.renew(renewal)).rejects.toThrow(InvalidUnits);
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 0, held: 100 });
    });
  });
});

describe("postgresStore without a server", () => {
  test("says what to install when the package is missing, and tries again at the next call", async () => {
    vi.doMock("pg", () => {
      throw new Error("Cannot find package 'pg'");
    });
    const store = postgresStore({ connectionString: "postgres://127.0.0.1:1/none" });
    const first = await store.release("r").catch((error) => error);
    vi.doUnmock("pg");
    expect(first).toMatchObject({ code: "store_peer_missing", cause: expect.any(Error) });
    expect(first.message).toContain("npm install pg");
    await expect(store.release("r")).rejects.toMatchObject({ code: "store_failed" });
    await store.close();
  });

  test("wants a pool or a connection string, and a name that can be one", () => {
    for (const wrong of [undefined, {}, { connectionString: "" }, { pool: {} }]) {
      expect(() => postgresStore(wrong as never), JSON.stringify(wrong)).toThrow(TypeError);
    }
    const pool = { query: async () => ({ rows: [] }) };
    for (const schema of ["", "a\0b", "x".repeat(64)])
      expect(() => postgresStore({ pool }, { schema })).toThrow("schema");
  });
});
