import { GatewayError, type Middleware } from "turnpike";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cache } from "../../src/middleware/cache/index.ts";
import { ask, type House, openHouse, said, startUpstreams, type Upstreams } from "./support.ts";

let upstreams: Upstreams;
beforeAll(async () => {
  upstreams = await startUpstreams();
});
afterAll(() => upstreams.close());

/** A cache in a gateway where somebody counts what no target answered. */
function counted(onCacheHit: (user: string | undefined) => void) {
  const cached = cache({ scope: "gateway" });
  const setup: NonNullable<Middleware["setup"]> = (plan) =>
    cached.setup?.({
      ...plan,
      onCacheHit: ({ identity }: { identity: { user?: string } }) => onCacheHit(identity.user),
    } as never);
  const wrapped: Middleware = (exchange, next) => cached(exchange, next);
  return Object.assign(wrapped, { id: "cache", setup, stats: cached.stats });
}

async function withHouse(onCacheHit: (user: string | undefined) => void, run: (house: House) => Promise<void>) {
  const house = await openHouse(upstreams, {
    cached: counted(onCacheHit),
    keys: ["ada", "bob"].map((user) => ({ id: user, key: `virtual-key-${user}`, user })),
  });
  await run(house).finally(house.close);
}

const as = (user: string) => ({ authorization: `Bearer virtual-key-${user}` });

test("every answer that no target gave is counted for its own caller: hits, shared and repeated ones", async () => {
  const seen: (string | undefined)[] = [];
  await withHouse(
    (user) => void seen.push(user),
    async (house) => {
      upstreams.openai.next({ delayMs: 100 });
      await Promise.all(["ada", "bob"].map((user) => said(house, ask("Together"), as(user))));
      await said(house, ask("Together"), as("bob"));
      for (let i = 0; i < 2; i++) await said(house, ask("Once"), { ...as("ada"), "idempotency-key": "k" });
    },
  );
  // Of the two together, whoever came second.
  expect(["ada", "bob"]).toContain(seen[0]);
  expect(seen.slice(1)).toEqual(["bob", "ada"]);
});

test("who has no request left gets no answer from the cache either", async () => {
  await withHouse(
    (user) => {
      if (user === "bob") throw new GatewayError("budget_exceeded", "no requests left");
    },
    async (house) => {
      await said(house, ask("Mine"), as("ada"));
      expect((await said(house, ask("Mine"), as("bob"))).status).toBe(402);
      expect((await said(house, ask("Mine"), as("ada"))).how).toBe("hit");
      expect(house.log.requests().at(1)).toMatchObject({ user: "bob", outcome: "refused", status: 402 });
    },
  );
});
