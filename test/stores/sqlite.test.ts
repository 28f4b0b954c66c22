import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import type { Hold, ReserveRequest } from "../../src/core/budget-store.ts";
import { type SqliteStoreOptions, sqliteStore } from "../../src/stores/sqlite.ts";
import { currentOwner, isDead } from "../../src/stores/sqlite-owner.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";
import { raceOn } from "./children/stores.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-sqlite-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newFile = () => join(folder, `${++files}.db`);

// ---- The suite: a file and a virtual clock, and memory with the real clock ----

let path = "";
storeSuite(
  {
    name: "SQLite store, file, virtual clock",
    virtualClock: true,
    create: ({ now }) => {
      path = newFile();
      return sqliteStore({ path, now });
    },
    reopen: ({ now }) => sqliteStore({ path, now }),
    size: () => count(path, "tp_counter") + count(path, "tp_reservation"),
    processes: raceOn({ engine: "sqlite", name: newFile() }),
  },
  { describe, test },
);
storeSuite({ name: "SQLite store, :memory:, real clock", create: () => sqliteStore(":memory:") }, { describe, test });

function count(file: string, table: string): number {
  const db = new DatabaseSync(file);
  try {
    return Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()!.n);
  } finally {
    db.close();
  }
}

const cap: Hold = { counter: "cap", bucket: 0, from: 0, step: 0, until: 4e15, fixed: 0, perUnit: 1, limit: 1000 };

function request(id: string, more: Partial<ReserveRequest> = {}): ReserveRequest {
  return { id, fingerprint: "f", holds: [cap], want: 100, min: 100, ttlMs: 600_000, onExpire: "release", ...more };
}

function usage(store: ReturnType<typeof sqliteStore>, counter: string) {
  const [state] = store.usage([{ ...cap, counter }]);
  return { used: state!.used, held: state!.held };
}

// ---- The file ----

describe("the file of the SQLite store", () => {
  test("is made together with its folder", () => {
    const path = join(folder, "some", "where", "budgets.db");
    sqliteStore(path).close();
    expect(existsSync(path)).toBe(true);
  });

  test("uses WAL and knows its schema version", () => {
    const path = newFile();
    const store = sqliteStore(path);
    const db = new DatabaseSync(path);
    expect(db.prepare("PRAGMA journal_mode").get()!.journal_mode).toBe("wal");
    expect(db.prepare("PRAGMA user_version").get()!.user_version).toBe(1);
    db.close();
    store.close();
  });

  test("of a newer schema is refused", () => {
    const path = newFile();
    sqliteStore(path).close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 2");
    db.close();
    expect(() => sqliteStore(path)).toThrow(
      expect.objectContaining({ code: "store_schema", message: expect.stringContaining("schema version 2") }),
    );
  });

  test("of something else is refused and left alone", () => {
    const path = newFile();
    const db = new DatabaseSync(path);
    db.exec("CREATE TABLE mine(a)");
    expect(() => sqliteStore(path)).toThrow(expect.objectContaining({ code: "store_schema" }));
    expect(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()!.n).toBe(1);
    db.close();
    const text = newFile();
    writeFileSync(text, "This is not a database, however long it may be. ".repeat(50));
    expect(() => sqliteStore(text)).toThrow(expect.objectContaining({ code: "store_failed" }));
  });

  test("that stays locked gives store_busy, and the next call works", () => {
    const path = newFile();
    const store = sqliteStore({ path, busyTimeoutMs: 50 });
    const db = new DatabaseSync(path);
    db.exec("BEGIN IMMEDIATE");
    expect(() => store.reserve(request("r"))).toThrow(
      expect.objectContaining({ name: "SqliteStoreError", code: "store_busy" }),
    );
    db.exec("ROLLBACK");
    expect(store.reserve(request("r")).ok).toBe(true);
    db.close();
    store.close();
  });

  test("can be closed twice, and use after close is a clear error", () => {
    const store = sqliteStore(newFile());
    store.close();
    store.close();
    for (const use of [
      () => store.reserve(request("r")),
      () => store.settle({ id: "r", actual: new Map(), holds: [] }),
      () => store.release("r"),
      () => store.renew({ id: "r", ttlMs: 1 }),
      () => store.usage([cap]),
    ]) {
      expect(use).toThrow(expect.objectContaining({ code: "store_closed" }));
    }
  });

  test("is not opened for wrong options", () => {
    const wrong: unknown[] = ["", { path: newFile(), synchronous: "OFF" }, { path: newFile(), busyTimeoutMs: 1.5 }];
    for (const options of wrong) expect(() => sqliteStore(options as SqliteStoreOptions)).toThrow(TypeError);
  });

  test("keeps every commit with synchronous FULL", () => {
    const path = newFile();
    const store = sqliteStore({ path, synchronous: "FULL" });
    store.reserve(request("r"));
    expect(usage(store, "cap").held).toBe(100);
    store.close();
  });

  test("is shared by two stores of one process", () => {
    const path = newFile();
    const [one, two] = [sqliteStore(path), sqliteStore(path)];
    one.reserve(request("r", { want: 900, min: 900 }));
    expect(two.reserve(request("s", { want: 200, min: 200 })).ok).toBe(false);
    expect(two.settle({ id: "r", actual: new Map([["cap", 5]]), holds: [cap] }).outcome).toBe("settled");
    expect(usage(one, "cap")).toEqual({ used: 5, held: 0 });
    one.close();
    two.close();
  });

  test("an expiry of more holds than one batch is complete for the reserve that needs the room", () => {
    let time = 1e12;
    const store = sqliteStore({ path: newFile(), now: () => time });
    const holds = [{ ...cap, limit: 500 }];
    for (let i = 0; i < 500; i++) store.reserve(request(`r${i}`, { holds, want: 1, min: 1, ttlMs: 10 }));
    time += 10;
    expect(store.reserve(request("all", { holds, want: 500, min: 1 }))).toMatchObject({ ok: true, granted: 500 });
    store.close();
  });
});

// ---- Several processes ----

describe("several processes with one SQLite file", () => {
  test("holds of a killed process end when the file is opened next; those of a live one stay", async () => {
    const path = newFile();
    const dead = hold(path, "dead");
    const live = hold(path, "live");
    await Promise.all([dead.ready, live.ready]);

    const before = sqliteStore(path);
    for (const name of ["dead", "live"]) {
      expect(usage(before, `${name} release`)).toEqual({ used: 0, held: 100 });
      expect(usage(before, `${name} charge`)).toEqual({ used: 0, held: 100 });
    }
    before.reserve(request("mine"));
    dead.child.kill("SIGKILL");
    await dead.ended;
    before.close();

    const after = sqliteStore(path);
    expect(usage(after, "dead release")).toEqual({ used: 0, held: 0 });
    expect(usage(after, "dead charge")).toEqual({ used: 100, held: 0 });
    expect(usage(after, "live release")).toEqual({ used: 0, held: 100 });
    expect(usage(after, "live charge")).toEqual({ used: 0, held: 100 });
    expect(usage(after, "cap")).toEqual({ used: 0, held: 100 });
    const late = after.settle({ id: "dead charge", actual: new Map([["dead charge", 30]]), holds: [] });
    expect(late).toEqual({ outcome: "late-expired", overrun: 0 });
    expect(usage(after, "dead charge")).toEqual({ used: 30, held: 0 });
    after.close();
    live.child.kill("SIGKILL");
    await live.ended;
  });

  test("many that open one new file at once all succeed", async () => {
    const path = newFile();
    const holders = ["a", "b", "c", "d"].map((name) => hold(path, name));
    await Promise.all(holders.map((holder) => holder.ready));
    for (const holder of holders) holder.child.kill("SIGKILL");
    await Promise.all(holders.map((holder) => holder.ended));
    expect(holders.map((holder) => holder.errors()).join("")).toBe("");
  });
});

describe("the owner of a hold", () => {
  const me = JSON.parse(currentOwner());
  const dead = (change: object) => isDead(JSON.stringify({ ...me, ...change }));

  test("is alive while it is this process", () => expect(isDead(currentOwner())).toBe(false));
  test("is dead when its process id belongs to nobody", () => expect(dead({ pid: 2 ** 30 })).toBe(true));
  test("is dead when its process id belongs to a later process", () => expect(dead({ start: -100 })).toBe(true));
  test("is dead when the machine was started again", () => expect(dead({ boot: "another" })).toBe(true));
  test("is left alone on another host", () => expect(dead({ host: "elsewhere", pid: 2 ** 30 })).toBe(false));
  test("is left alone in another container", () => expect(dead({ space: "pid:[1]", pid: 2 ** 30 })).toBe(false));
  test("is left alone when it cannot be read", () => {
    for (const text of ["", "null", "1", "{}", "not json"]) expect(isDead(text)).toBe(false);
  });
});

interface Holder {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  /** Resolves at the first output. */
  readonly ready: Promise<unknown>;
  /** What it wrote to stderr, without Node's warnings. */
  errors(): string;
}

/** A process that holds units and never gives them back. */
function hold(path: string, name: string): Holder {
  const file = fileURLToPath(new URL("./children/holder.ts", import.meta.url));
  const child = spawn(process.execPath, ["--no-warnings", file, path, name], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (data) => {
    errors += data;
  });
  const ended = once(child, "close");
  return { child, ended, ready: Promise.race([once(child.stdout, "data"), ended]), errors: () => errors };
}
