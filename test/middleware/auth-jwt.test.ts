import { createServer } from "node:http";
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { type AuthOptions, auth, createGateway, router, translator } from "turnpike";
import { simulated } from "turnpike/providers";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { JwtOptions } from "../../src/middleware/auth/index.ts";
import { listen, serve, shut } from "../support/gateway.ts";

const ISSUER = "https://login.example.com/";
const AUDIENCE = "turnpike";
const SECRET = "a secret of the issuer and of us, long enough";

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;
let rsa: Pair;
let curve: Pair;
beforeAll(async () => {
  [rsa, curve] = await Promise.all([
    generateKeyPair("RS256", { extractable: true }),
    generateKeyPair("ES256", { extractable: true }),
  ]);
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Signing {
  key?: Parameters<SignJWT["sign"]>[0];
  alg?: string;
  kid?: string;
  expires?: number | string | false;
}

const now = () => Math.floor(Date.now() / 1_000);

function token(
  claims: JWTPayload = {},
  { key = rsa.privateKey, alg = "RS256", kid = "k1", expires = "5m" }: Signing = {},
) {
  const jwt = new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: "alice", ...claims }).setProtectedHeader({ alg, kid });
  if (expires !== false) jwt.setExpirationTime(expires);
  return jwt.sign(key);
}

/** The issuer's key set over a real socket. */
async function issuer(keys: () => Promise<object[]>) {
  const state = { fetches: 0, status: 200 };
  const server = createServer(async (_request, response) => {
    state.fetches++;
    response.writeHead(state.status, { "content-type": "application/json" });
    response.end(JSON.stringify({ keys: await keys() }));
  });
  const url = `${await listen(server)}/keys`;
  cleanups.push(() => shut(server));
  return { state, url };
}

async function door(jwt: Partial<JwtOptions>, others: Partial<AuthOptions> = {}) {
  const gateway = createGateway({
    providers: { demo: simulated() },
    use: [
      auth({ jwt: { issuer: ISSUER, audience: AUDIENCE, ...jwt } as JwtOptions, ...others }),
      router(),
      translator(),
    ],
  });
  const server = await serve(gateway);
  cleanups.push(
    () => server.close(),
    () => gateway.close(),
  );
  const me = async (bearer: string) => {
    const response = await fetch(`${server.url}/v1/me`, { headers: { authorization: `Bearer ${bearer}` } });
    const json = (await response.json()) as { identity?: object; error?: { message: string } };
    return { status: response.status, identity: json.identity, message: json.error?.message };
  };
  const ask = async (bearer: string, model: string) => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${bearer}` },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] }),
    });
    await response.arrayBuffer();
    return response.status;
  };
  return { me, ask };
}

describe("auth with JSON Web Tokens", () => {
  test("knows user, team and tags from a token of the issuer's key set, fetched once", async () => {
    const { url, state } = await issuer(async () => [{ ...(await exportJWK(rsa.publicKey)), kid: "k1", alg: "RS256" }]);
    const { me } = await door({ jwks: url });
    const good = await token({ team: "web", tags: ["ci", "eu"] });
    expect(await me(good)).toEqual({ status: 200, identity: { user: "alice", team: "web", tags: ["ci", "eu"] } });
    await Promise.all(Array.from({ length: 10 }, async (_, n) => me(await token({ sub: `u${n}` }))));
    expect(state.fetches).toBe(1);
    const stranger = await generateKeyPair("RS256");
    expect(await me(await token({}, { key: stranger.privateKey }))).toMatchObject({
      status: 401,
      message: "The token's signature is not one of the issuer",
    });
    // Unknown key ids do not make us ask the issuer each time.
    for (const kid of ["a", "b", "c"]) expect((await me(await token({}, { kid }))).status).toBe(401);
    expect(state.fetches).toBeLessThanOrEqual(2);
  });

  test("an issuer that is away is a 503, and is asked again", async () => {
    const { url, state } = await issuer(async () => [{ ...(await exportJWK(rsa.publicKey)), kid: "k1", alg: "RS256" }]);
    state.status = 500;
    const { me } = await door({ jwks: url });
    const good = await token();
    expect(await me(good)).toMatchObject({ status: 503, message: "API keys cannot be checked at the moment" });
    state.status = 200;
    expect((await me(good)).status).toBe(200);
  });

  test("takes a key set, a PEM, a JWK or a secret as well", async () => {
    const jwk = await exportJWK(rsa.publicKey);
    const ways: [Partial<JwtOptions>, string][] = [
      [{ jwks: { keys: [{ ...jwk, kid: "k1", alg: "RS256" }] } as never }, await token()],
      [{ key: await exportSPKI(rsa.publicKey) }, await token()],
      [{ key: (await exportJWK(curve.publicKey)) as never }, await token({}, { key: curve.privateKey, alg: "ES256" })],
      [{ secret: SECRET }, await token({}, { key: new TextEncoder().encode(SECRET), alg: "HS256" })],
    ];
    for (const [options, good] of ways) {
      const { me } = await door(options);
      expect((await me(good)).identity).toEqual({ user: "alice" });
    }
  });

  test.each<[string, () => Promise<string>, string]>([
    [
      "of another issuer",
      () => token({ iss: "https://evil.example.com/" }),
      'The token is not accepted because of its claim "iss"',
    ],
    ["for somebody else", () => token({ aud: "other" }), 'The token is not accepted because of its claim "aud"'],
    ["that has expired", () => token({}, { expires: now() - 60 }), "The token has expired"],
    ["that never expires", () => token({}, { expires: false }), 'The token is not accepted because of its claim "exp"'],
    ["that is not valid yet", () => token({ nbf: now() + 60 }), 'The token is not accepted because of its claim "nbf"'],
    ["without a user", () => token({ sub: undefined }), 'The token has no claim "sub"'],
    ["with an object for a user", () => token({ sub: { a: 1 } as never }), 'The token has no claim "sub"'],
    [
      "signed with another family of algorithms",
      () => token({}, { key: curve.privateKey, alg: "ES256" }),
      "The token is signed with an algorithm that is not accepted",
    ],
    [
      "signed with the public key as a secret",
      async () => token({}, { key: new TextEncoder().encode(await exportSPKI(rsa.publicKey)), alg: "HS256" }),
      "The token is signed with an algorithm that is not accepted",
    ],
    [
      "that is not signed",
      async () => {
        const [, payload] = (await token()).split(".");
        return `${Buffer.from('{"alg":"none"}').toString("base64url")}.${payload}.AAAA`;
      },
      "The token is signed with an algorithm that is not accepted",
    ],
    [
      "with a changed claim",
      async () => {
        const [header, , signature] = (await token()).split(".");
        const [, payload] = (await token({ sub: "admin" })).split(".");
        return `${header}.${payload}.${signature}`;
      },
      "The token's signature is not one of the issuer",
    ],
    ["that is nonsense", async () => "abc.def.ghi", "Invalid token"],
    ["that is no token", async () => "abc.def", "Invalid API key"],
  ])("refuses one %s", async (_what, make, message) => {
    const { me } = await door({ key: await exportSPKI(rsa.publicKey), algorithms: ["RS256"] });
    const given = await make();
    expect(await me(given)).toEqual({ status: 401, identity: undefined, message });
  });

  test("forgives a clock that is a little off, and no more, however long the answer is cached", async () => {
    const { me } = await door({ secret: SECRET, clockToleranceSeconds: 2 }, { cacheMs: 3_600_000 });
    const key = new TextEncoder().encode(SECRET);
    const late = await token({}, { key, alg: "HS256", expires: now() });
    expect((await me(late)).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    expect(await me(late)).toMatchObject({ status: 401, message: "This API key has expired" });
  });

  test("reads claims by other names and inside objects, and models as a right that every token must have", async () => {
    const key = new TextEncoder().encode(SECRET);
    const { me, ask } = await door({
      secret: SECRET,
      claims: {
        user: "email",
        team: "https://example.com/team",
        tags: "realm_access.roles",
        key: "jti",
        models: "models",
      },
    });
    const claims = {
      email: "a@example.com",
      "https://example.com/team": "web",
      realm_access: { roles: ["dev"] },
      jti: "t1",
      models: "demo/* claude-*",
    };
    const good = await token(claims, { key, alg: "HS256" });
    expect((await me(good)).identity).toEqual({ key: "t1", user: "a@example.com", team: "web", tags: ["dev"] });
    expect([await ask(good, "demo/demo"), await ask(good, "other/x")]).toEqual([200, 403]);
    const { models: _, ...without } = claims;
    expect(await me(await token(without, { key, alg: "HS256" }))).toMatchObject({
      message: 'The token has no claim "models"',
    });
    expect((await me(await token({ ...claims, models: [] }, { key, alg: "HS256" }))).status).toBe(200);
    expect(await ask(await token({ ...claims, models: [] }, { key, alg: "HS256" }), "demo/demo")).toBe(403);
  });

  test("stands beside static keys and a lookup function", async () => {
    const { me } = await door(
      { secret: SECRET },
      {
        keys: [{ id: "s", key: "static-key" }],
        lookup: (key) => (key === "a.bc.de" || key === "aa.bb.cc" ? { user: "looked-up" } : undefined),
      },
    );
    const key = new TextEncoder().encode(SECRET);
    expect((await me(await token({}, { key, alg: "HS256" }))).identity).toEqual({ user: "alice" });
    expect((await me("static-key")).identity).toEqual({ key: "s" });
    expect((await me("aa.bb.cc")).identity).toEqual({ user: "looked-up" });
    expect((await me("aa.bb.dd")).status).toBe(401);
  });

  test.each<[string, object, RegExp]>([
    ["no key at all", {}, /one of `jwks`, `key` and `secret`/],
    ["two keys", { secret: SECRET, jwks: "https://x.example/keys" }, /one of `jwks`, `key` and `secret`/],
    ["a key set over plain http", { jwks: "http://login.example.com/keys" }, /https/],
    ["a short secret", { secret: "short" }, /secret/],
    [
      "a secret's algorithm for a key set",
      { jwks: "https://x.example/keys", algorithms: ["HS256"] },
      /HS256 to HS512 are for `secret`/,
    ],
    ["the algorithm none", { jwks: "https://x.example/keys", algorithms: ["none"] }, /algorithms/],
    ["a key that is none", { key: { kty: "RSA", n: "x" } }, /not a public key/],
    ["an unknown claim name", { secret: SECRET, claims: { usr: "x" } }, /usr/],
    ["no issuer", { secret: SECRET, issuer: undefined }, /issuer/],
  ])("refuses options with %s", (_what, options, message) => {
    const make = () => auth({ jwt: { issuer: ISSUER, audience: AUDIENCE, ...options } as never });
    expect(make).toThrow(message);
    expect(make).toThrow(TypeError);
  });

  test("a private key is not taken for a public one", async () => {
    const pem = await exportPKCS8(rsa.privateKey);
    expect(() => auth({ jwt: { issuer: ISSUER, audience: AUDIENCE, key: pem } })).toThrow(/jwt\.key/);
  });
});
