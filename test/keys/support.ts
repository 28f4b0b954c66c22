import { describe, expect, test } from "vitest";
import { hashKey } from "../../src/keys/key.ts";
import type { KeyTable } from "../../src/keys/table.ts";

/** What every key table does. `create` gives tables over the same, at first empty, rows. */
export function keyTableSuite(name: string, create: (options?: { now?: () => number }) => KeyTable): void {
  describe(`a key table in ${name}`, () => {
    test("knows a key by its hash, with all that was said of it", async () => {
      const table = create({ now: () => 1_000 });
      const facts = { name: "CI", user: "alice", team: "web", tags: ["ci", "eu"], models: ["claude-*"] };
      const { id, key } = await table.create({ ...facts, expiresAt: new Date(90_000) });
      expect(await table.lookup(hashKey(key))).toEqual({ id, ...facts, createdAt: 1_000, expiresAt: 90_000 });
      expect(await table.lookup(hashKey(`${key}x`))).toBeUndefined();
      const bare = await table.create();
      expect(await table.lookup(hashKey(bare.key))).toEqual({ id: bare.id, createdAt: 1_000 });
      await table.close();
    });

    test("another process sees a key and its revocation", async () => {
      const [here, there] = [create(), create()];
      const { id, key } = await here.create({ user: "bob" });
      expect(await there.lookup(hashKey(key))).toMatchObject({ id, user: "bob" });
      expect(await there.revoke(id)).toBe(true);
      const first = (await here.lookup(hashKey(key)))?.revokedAt;
      expect(first).toBeGreaterThan(0);
      expect(await here.revoke(id)).toBe(true);
      expect((await there.lookup(hashKey(key)))?.revokedAt).toBe(first);
      expect(await here.revoke("nobody")).toBe(false);
      await Promise.all([here.close(), there.close()]);
    });

    test("lists all keys, oldest first, with neither key nor hash", async () => {
      let time = 1;
      const table = create({ now: () => time++ });
      const made = [await table.create({ user: "first" }), await table.create(), await table.create()];
      await table.revoke(made[1]!.id);
      const listed = (await table.list()).filter(({ id }) => made.some((each) => each.id === id));
      expect(listed.map(({ id }) => id)).toEqual(made.map(({ id }) => id));
      expect(listed[1]!.revokedAt).toBeGreaterThan(0);
      const text = JSON.stringify(listed);
      for (const { key } of made) {
        expect(text).not.toContain(key.slice(3, 20));
        expect(text).not.toContain(hashKey(key).slice(7, 20));
      }
      await table.close();
    });

    test("notes the last use to within a minute", async () => {
      let time = 100_000;
      const table = create({ now: () => time });
      const { id, key } = await table.create();
      const used = async () => {
        await table.touch?.(id);
        return (await table.lookup(hashKey(key)))?.lastUsedAt;
      };
      expect(await used()).toBe(100_000);
      time += 59_000;
      expect(await used()).toBe(100_000);
      time += 1_000;
      expect(await used()).toBe(160_000);
      await table.close();
    });

    test.each([
      ["a time that has passed", { expiresAt: 1 }, /has passed already/],
      ["a time that is none", { expiresAt: "tomorrow" }, /expiresAt/],
      ["no model at all", { models: [] }, /models/],
      ["an option that does not exist", { modles: ["x"] }, /modles/],
    ])("refuses %s", async (_what, options, message) => {
      const table = create();
      await expect(table.create(options as never)).rejects.toThrow(message);
      await table.close();
    });

    test("says that it is closed", async () => {
      const table = create();
      await table.list();
      await table.close();
      await table.close();
      await expect(table.list()).rejects.toMatchObject({ name: "KeyTableError", code: "table_closed" });
    });
  });
}
