import { budget, createGateway, router, translator } from "turnpike";
import { simulated } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { expect, test } from "vitest";
import { serve } from "../support/gateway.ts";

test("readiness follows the budget store and the shutdown; liveness does not", async () => {
  const real = memoryStore();
  let away = false;
  const gateway = createGateway({
    providers: { simulated: simulated() },
    use: [
      router({ rules: [{ match: { model: "*" }, to: "simulated/demo" }] }),
      budget({
        store: {
          ...real,
          usage: (refs) => {
            if (away) throw new Error("connection refused: redis://secret@host");
            return real.usage(refs);
          },
        },
        limits: [{ name: "day", tokens: 1_000, per: "day" }],
      }),
      translator(),
    ],
  });
  const server = await serve(gateway);
  const status = async (path: string) => (await fetch(server.url + path)).status;
  expect([await status("/readyz"), await status("/healthz")]).toEqual([200, 200]);
  away = true;
  const answer = await fetch(`${server.url}/readyz`);
  expect(answer.status).toBe(503);
  expect(await answer.text()).not.toContain("secret");
  expect(await status("/healthz")).toBe(200);
  away = false;
  expect(await status("/readyz")).toBe(200);
  await gateway.close();
  expect([await status("/readyz"), await status("/healthz")]).toEqual([503, 200]);
  await server.close();
});
