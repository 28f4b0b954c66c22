import { describe, expect, test } from "vitest";
import { gatewayFromConfig, parseConfig } from "../../src/gateway/config.ts";

const withFacts = (...capabilities: unknown[]) => ({
  logger: false,
  providers: { eu: { type: "mistral", apiKey: "k", capabilities } },
});

describe("facts about models in a configuration file", () => {
  test("win over the built-in ones, for the models that their pattern names", async () => {
    const { gateway } = await gatewayFromConfig(
      withFacts(
        { match: "mistral-medium*", reasoning: { levels: ["low", "high"], off: "none" }, maxOutputTokens: 9_000 },
        { match: "mistral-medium-3.5", parameters: { temperature: { max: 0.7 } } },
      ),
    );
    const facts = gateway.capabilities("eu/mistral-medium-3.5");
    expect(facts).toMatchObject({
      provider: "mistral",
      dialect: "openai-chat",
      reasoning: { levels: ["low", "high"], off: "none" },
      maxOutputTokens: 9_000,
      parameters: { temperature: { max: 0.7 }, topK: false },
      learned: [],
    });
    expect(gateway.capabilities("eu/mistral-large-latest").maxOutputTokens).toBeUndefined();
    // A dot in a name is a dot.
    expect(gateway.capabilities("eu/mistral-medium-3x5").parameters?.temperature).toEqual({ min: 0, max: 1.5 });
    await gateway.close();
  });

  test("a successor of one's own is followed, loudly", async () => {
    const { gateway } = await gatewayFromConfig(withFacts({ match: "old", successor: "new", retired: "2026-11-01" }));
    expect(gateway.capabilities("eu/old")).toMatchObject({ successor: "new", retired: "2026-11-01" });
    await gateway.close();
  });

  test.each([
    [{ match: "x", reasonin: false }, /providers\.eu\.capabilities\[0\]/],
    [{ match: "x", reasoning: { levels: ["extreme"], off: "none" } }, /providers\.eu\.capabilities\[0\]\.reasoning/],
    [{ reasoning: false }, /providers\.eu\.capabilities\[0\]\.match/],
    [{ match: "x", parameters: { temprature: false } }, /providers\.eu\.capabilities\[0\]\.parameters/],
  ])("%j is refused with its path", (row, path) => {
    expect(() => parseConfig(withFacts(row))).toThrow(path);
  });

  test("an unknown target is an error that says so", async () => {
    const { gateway } = await gatewayFromConfig(withFacts());
    expect(() => gateway.capabilities("nobody/x")).toThrow(/not a known provider/);
    await gateway.close();
  });
});
