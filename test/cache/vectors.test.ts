import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pgvectorIndex } from "../../src/caches/pgvector.ts";
import { memoryVectors } from "../../src/caches/vectors-memory.ts";
import type { VectorIndex } from "../../src/core/cache-store.ts";

let db: PGlite;
let tables = 0;
beforeAll(async () => {
  db = await PGlite.create({ extensions: { vector } });
}, 60_000);
afterAll(() => db?.close());

const unit = (numbers: number[]) => {
  const length = Math.hypot(...numbers) || 1;
  return Float32Array.from(numbers, (each) => each / length);
};
const DAY = 86_400_000;
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, each, i) => sum + each * b[i]!, 0);

describe.each<[string, (maxEntries?: number) => VectorIndex]>([
  ["memory", (maxEntries = 1_000) => memoryVectors({ maxEntries })],
  ["PostgreSQL", (maxEntries = 1_000) => pgvectorIndex({ pool: db }, { table: `vectors_${++tables}`, maxEntries })],
])("the vector index in %s", (_, create) => {
  test("finds the nearest of its partition, and how near it is", async () => {
    const index = create();
    await index.add({ partition: "p", id: "x", vector: unit([1, 0, 0]), question: "x?" }, DAY);
    await index.add({ partition: "p", id: "xy", vector: unit([1, 1, 0]), question: "xy?" }, DAY);
    await index.add({ partition: "other", id: "same", vector: unit([1, 0.1, 0]), question: "same?" }, DAY);
    const match = await index.search("p", unit([1, 0.1, 0]), 0.9);
    expect(match).toMatchObject({ id: "x", question: "x?" });
    expect(match!.similarity).toBeCloseTo(0.995, 3);
    expect(await index.search("p", unit([0, 0, 1]), 0.5)).toBeUndefined();
    expect(await index.search("nobody", unit([1, 0, 0]), 0)).toBeUndefined();
  });

  test("finds what is like it only in its last numbers", async () => {
    const index = create();
    const late = (last: number) => unit([...new Array<number>(290).fill(0), 1, 2, 3, 4, 5, 6, 7, 8, 9, last]);
    await index.add({ partition: "p", id: "late", vector: late(10), question: "?" }, DAY);
    expect(await index.search("p", late(9), 0.95)).toMatchObject({ id: "late" });
  });

  test("replaces the same id, and removes it", async () => {
    const index = create();
    await index.add({ partition: "p", id: "a", vector: unit([1, 0]), question: "old" }, DAY);
    await index.add({ partition: "q", id: "a", vector: unit([0, 1]), question: "new" }, DAY);
    expect(await index.search("p", unit([1, 0]), 0.5)).toBeUndefined();
    expect(await index.search("q", unit([0, 1]), 0.5)).toMatchObject({ question: "new" });
    await index.remove("a");
    expect(await index.search("q", unit([0, 1]), 0.5)).toBeUndefined();
  });

  test("forgets by time", async () => {
    const index = create();
    await index.add({ partition: "p", id: "short", vector: unit([1, 0]), question: "?" }, 30);
    await index.add({ partition: "p", id: "long", vector: unit([1, 1]), question: "?" }, DAY);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await index.search("p", unit([1, 0]), 0.5)).toMatchObject({ id: "long" });
  });

  test("is bounded: the oldest go first", async () => {
    const index = create(50);
    for (let i = 0; i < 200; i++) {
      await index.add({ partition: "p", id: `${i}`, vector: unit([Math.cos(i), Math.sin(i)]), question: "?" }, DAY);
    }
    const find = (i: number) => index.search("p", unit([Math.cos(i), Math.sin(i)]), 0.999_999);
    expect(await find(199)).toMatchObject({ id: "199" });
    expect(await find(0)).toBeUndefined();
  });

  test("finds what comparing with every one finds, over any vectors", async () => {
    const numbers = fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 300, maxLength: 300 });
    const some = numbers.filter((each) => each.some((value) => value !== 0));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ vector: some, partition: fc.constantFrom("p", "q") }), { minLength: 1, maxLength: 12 }),
        some,
        fc.double({ min: -1, max: 1, noNaN: true }),
        async (entries, query, atLeast) => {
          const index = create();
          for (const [i, { vector, partition }] of entries.entries())
            await index.add({ partition, id: `${i}`, vector: unit(vector), question: `${i}` }, DAY);
          const best = Math.max(
            ...entries.map(({ vector, partition }) => (partition === "p" ? dot(unit(vector), unit(query)) : -2)),
          );
          // At the very border rounding decides.
          fc.pre(Math.abs(best - atLeast) > 1e-4);
          const match = await index.search("p", unit(query), atLeast);
          if (best < atLeast) {
            expect(match).toBeUndefined();
            return;
          }
          expect(match!.similarity).toBeCloseTo(best, 4);
          expect(entries[Number(match!.id)]!.partition).toBe("p");
        },
      ),
      { numRuns: _ === "memory" ? 300 : 20 },
    );
  });
});

describe("the vector index in memory", () => {
  test("searches large partitions in slices, so that others can run between them", async () => {
    const index = memoryVectors({ maxEntries: 20_000 });
    for (let i = 0; i < 20_000; i++)
      void index.add(
        { partition: "p", id: `${i}`, vector: unit([Math.cos(i), Math.sin(i), i % 7]), question: "?" },
        DAY,
      );
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    const search = index.search("p", unit([Math.cos(19_998), Math.sin(19_998), 19_998 % 7]), 0.99);
    expect(search).toBeInstanceOf(Promise);
    expect(await search).toMatchObject({ similarity: expect.closeTo(1, 5) });
    clearInterval(counting);
    expect(turns).toBeGreaterThan(0);
  });

  test("starts anew where the length of the vectors changes: that is another model", async () => {
    const index = memoryVectors();
    await index.add({ partition: "p", id: "2", vector: unit([1, 0]), question: "?" }, DAY);
    await index.add({ partition: "p", id: "3", vector: unit([1, 0, 0]), question: "?" }, DAY);
    expect(await index.search("p", unit([1, 0]), 0)).toBeUndefined();
    expect(await index.search("p", unit([1, 0, 0]), 0)).toMatchObject({ id: "3" });
  });
});

describe("the vector index in PostgreSQL", () => {
  test("is made by whoever comes first, and taken as it is by the others", async () => {
    const [one, two] = [1, 2].map(() => pgvectorIndex({ pool: db }, { table: "twice" }));
    await Promise.all([one!, two!].map((index) => index.search("p", unit([1, 0]), 0)));
    await one!.add({ partition: "p", id: "a", vector: unit([1, 0]), question: 'it\'s "quoted"; --' }, DAY);
    expect(await two!.search("p", unit([1, 0]), 0)).toMatchObject({ question: 'it\'s "quoted"; --' });
  });

  test.each([["a b"], ["x;drop"], [""]])("is refused under a name that is none: %j", (table) => {
    expect(() => pgvectorIndex({ pool: db }, { table })).toThrow(/plain name/);
  });
});
