import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { ask, EMBED, type House, openHouse, post, said, startUpstreams, type Upstreams } from "./support.ts";

let upstreams: Upstreams;
let house: House | undefined;
beforeAll(async () => {
  upstreams = await startUpstreams();
});
afterEach(async () => {
  await house?.close();
  upstreams.reset();
});
afterAll(() => upstreams.close());

test("a hit counts on limits in requests that name no target, and on no other", async () => {
  house = await openHouse(upstreams, {
    limits: [
      { name: "all", requests: 3, tokens: 1_000_000, usd: 5, per: "day" },
      { name: "openai", match: { provider: "openai" }, requests: 100, per: "day" },
      { name: "by-model", by: "model", requests: 100, per: "day" },
    ],
  });
  for (let i = 0; i < 3; i++) expect((await said(house, ask("Count."))).status).toBe(200);
  const used = (await house.gateway.usage()).map(({ limit, unit, used }) => [`${limit}|${unit}`, used]);
  expect(Object.fromEntries(used)).toMatchObject({ "all|requests": 3, "openai|requests": 1 });
  const refused = await said(house, ask("Count."));
  expect([refused.status, refused.headers.get("x-should-retry")]).toEqual([402, "false"]);
  // There was no target to be named.
  const { error } = (await (await post(house, ask("Count."))).json()) as { error: { message: string } };
  expect(error.message).toMatch(/^Budget "all" is spent: 3 of 3 requests used/);
  expect((await house.gateway.usage()).every(({ held }) => held === 0)).toBe(true);
});

test("a rule for all models does not lead embeddings of the cache elsewhere", async () => {
  house = await openHouse(upstreams, {
    cache: { semantic: { embed: EMBED } },
    rules: [{ match: { model: "*" }, to: "mistral/mistral-medium-3-5" }],
  });
  await said(house, ask("Where to?", { model: "anything" }));
  expect(house.log.attempts().map(({ target }) => target)).toEqual([EMBED, "mistral/mistral-medium-3-5"]);
});
