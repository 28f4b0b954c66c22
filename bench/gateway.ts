/** Process: Turnpike behind `node:http`, in one mode. Arguments: folder of the build, mode, stack, upstream. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { KEY, WAYS } from "./bodies.ts";

export type Mode = "pass-chat" | "pass-anthropic" | "to-chat" | "to-mistral";
export type Stack = "full" | "bare";

const [dist, mode, stack, upstream] = process.argv.slice(2) as [string, Mode, Stack, string];
const load = <T>(entry: string): Promise<T> => import(pathToFileURL(join(dist, entry)).href);
const turnpike = await load<typeof import("../src/index.ts")>("index.js");
const providers = await load<typeof import("../src/providers/index.ts")>("providers/index.js");
const { memoryStore } = await load<typeof import("../src/stores/memory.ts")>("stores/memory.js");

const factory = {
  "pass-chat": providers.openaiCompatible,
  "pass-anthropic": providers.anthropic,
  "to-chat": providers.openaiCompatible,
  "to-mistral": providers.mistral,
}[mode];

/** Anthropic's model keeps its name, so those bytes are not touched at all; in the other modes the name is put in. */
const MODEL = {
  "pass-chat": "bench-model",
  "pass-anthropic": "*",
  "to-chat": "bench-model",
  "to-mistral": "mistral-medium-3-5",
};

const price = { input: 0.4, output: 2 };
const provider = (way: string) => factory({ baseURL: `${upstream}/${way}/v1`, apiKey: "upstream-key", price });
const nothing = { info() {}, warn() {} };

const gateway = turnpike.createGateway({
  providers: Object.fromEntries(WAYS.map((way) => [way, provider(way)])),
  use: [
    ...(stack === "full"
      ? [
          turnpike.logger({ to: nothing }),
          turnpike.auth({ keys: [{ id: "bench", hash: turnpike.hashKey(KEY), user: "bench", team: "bench" }] }),
        ]
      : []),
    turnpike.router({
      rules: WAYS.map((way) => ({ match: { model: `claude-${way}` }, to: `${way}/${MODEL[mode]}` })),
    }),
    ...(stack === "full"
      ? [
          turnpike.budget({
            store: memoryStore(),
            limits: [{ name: "daily", tokens: 9_000_000_000_000_000, per: "day", timeZone: "Europe/Paris" }],
          }),
        ]
      : []),
    turnpike.translator(),
  ],
});

/** What is under way; nothing of it may be left when nobody asks any more. */
export interface State {
  inFlight: number;
  /** Tokens that are reserved. */
  held: number;
  /** Connections that something waits for, to callers and to the upstream; idle ones of a pool are not among them. */
  sockets: number;
}

async function state(): Promise<State> {
  const usage = await gateway.usage();
  return {
    inFlight: gateway.inFlight,
    held: usage.reduce((sum, { held }) => sum + held, 0),
    sockets: process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length,
  };
}

process.on("message", async ({ type }: { type?: string }) => {
  if (type === "state") process.send!({ type, ...(await state()) });
});

const server = createServer(turnpike.toNodeHandler(gateway));
server.listen(0, "127.0.0.1", 4_096, () => {
  process.send!({ type: "ready", port: (server.address() as AddressInfo).port });
});
