import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RequestBody } from "../../src/core/body.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";

/** Values as JSON can write them: it knows no −0. */
const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)));
const name = fc.constantFrom("model", "max_tokens", "stream", "messages", "x", "é", '"quoted"', "__proto__");
const member = fc.tuple(name, json);
const objectText = fc
  .tuple(fc.uniqueArray(member, { selector: ([key]) => key, maxLength: 6 }), fc.stringMatching(/^[ \n]{0,2}$/))
  .map(([list, space]) => ({
    list,
    text: `${space}{${list.map(([key, value]) => `${space}${JSON.stringify(key)} :${space}${JSON.stringify(value)}${space}`).join(",")}}${space}`,
  }));
const changes = fc.uniqueArray(member, { selector: ([key]) => key, maxLength: 4 });

describe("splice", () => {
  test("changes the members it is told to, adds those that are missing, and leaves every other byte", () => {
    fc.assert(
      fc.property(objectText, changes, ({ list, text }, edits) => {
        const body = new RequestBody({ bytes: Buffer.from(text) });
        const values = Object.fromEntries(
          edits.filter(([key]) => key !== "__proto__").map(([key, value]) => [key, JSON.stringify(value)]),
        );
        const out = Buffer.concat(body.splice(values)).toString();
        const expected = new Map<string, unknown>(
          [...list, ...edits.filter(([key]) => key !== "__proto__")].map(([key, value]) => [key, value]),
        );
        const read = new RequestBody({ bytes: Buffer.from(out) });
        expect(read.members.size).toBe(expected.size);
        for (const [key, value] of expected) expect(read.member(key)).toEqual(value);
        // What was not named is byte for byte what it was, in its place.
        for (const [key] of list) {
          if (key in values) continue;
          const [before, after] = [body.members.get(key)!, read.members.get(key)!];
          expect(Buffer.from(out).subarray(after.start, after.end)).toEqual(
            Buffer.from(text).subarray(before.start, before.end),
          );
        }
        expect(body.text, "the source is not touched").toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });

  test("without changes gives the same bytes", () => {
    fc.assert(
      fc.property(objectText, ({ text }) => {
        expect(Buffer.concat(new RequestBody({ bytes: Buffer.from(text) }).splice({})).toString()).toBe(text);
      }),
    );
  });

  test("replaces in place and adds at the front", () => {
    const body = new RequestBody({ bytes: Buffer.from('{ "model" : "a" , "n":1}') });
    expect(Buffer.concat(body.splice({ model: '"bb"', max_tokens: "5" })).toString()).toBe(
      '{"max_tokens":5, "model" : "bb" , "n":1}',
    );
    expect(Buffer.concat(new RequestBody({ bytes: Buffer.from("{}") }).splice({ model: '"m"' })).toString()).toBe(
      '{"model":"m"}',
    );
  });
});

describe("reading", () => {
  test("one member is parsed without the rest, and says where it is broken", () => {
    const body = new RequestBody({ bytes: Buffer.from('{"model":"m","stream":tru,"n":01}') });
    expect(body.model).toBe("m");
    expect(() => body.stream).toThrow(expect.objectContaining({ code: "invalid_request", param: "stream" }));
    expect(() => body.member("n")).toThrow(expect.objectContaining({ code: "invalid_request", param: "n" }));
    expect(() => body.json).toThrow(expect.objectContaining({ code: "invalid_request" }));
    expect(body.member("nothing")).toBeUndefined();
    expect(body.member("toString")).toBeUndefined();
  });

  test("an object given in process is read and written like bytes", () => {
    const body = new RequestBody({ json: { model: "m", stream: true, messages: [] } });
    expect([body.model, body.stream, body.member("messages")]).toEqual(["m", true, []]);
    expect(Buffer.concat(body.splice({ model: '"x"' })).toString()).toBe('{"model":"x","stream":true,"messages":[]}');
    expect(body.member("toString")).toBeUndefined();
    expect(body.member("constructor")).toBeUndefined();
  });

  test("what was read can be forgotten, and is read again when it is asked for", () => {
    const body = new RequestBody({ bytes: Buffer.from('{"model":"m","messages":[{"role":"user","content":"hi"}]}') });
    const [json, request] = [body.json, body.canonical(openaiChat, "chat")];
    body.forget();
    expect(body.model).toBe("m");
    expect(body.json).not.toBe(json);
    expect(body.json).toEqual(json);
    expect(body.canonical(openaiChat, "chat")).not.toBe(request);
    expect(body.canonical(openaiChat, "chat")).toEqual(request);
    const given = new RequestBody({ json: { model: "m" } });
    given.forget();
    expect(given.model).toBe("m");
  });

  test("a model in the path wins over one in the body", () => {
    expect(new RequestBody({ bytes: Buffer.from('{"model":"body"}') }, { model: "path" }).model).toBe("path");
  });

  test.each([[{}], [{ model: null }], [{ model: "" }], [{ model: ["m"] }]])("%j has no model", (json) => {
    expect(() => new RequestBody({ json }).model).toThrow(
      expect.objectContaining({ code: "invalid_request", param: "model" }),
    );
  });
});
