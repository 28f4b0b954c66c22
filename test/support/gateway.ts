import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Gateway, LogSink } from "turnpike";
import { toNodeHandler } from "turnpike";

/** Serves a gateway over a real socket. */
export async function serve(gateway: Gateway): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(toNodeHandler(gateway));
  return { url: await listen(server), close: () => shut(server) };
}

export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function shut(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/** Keeps what would be logged. */
export function logBook() {
  const records: Record<string, unknown>[] = [];
  const write = (record: object) => void records.push(record as Record<string, unknown>);
  const sink: LogSink = { info: write, warn: write };
  return {
    sink,
    records,
    attempts: () => records.filter((record) => record.event === "attempt"),
    requests: () => records.filter((record) => record.event === "request"),
  };
}

/** Waits until a condition holds; fails loudly when it never does. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, ms = 3_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
