import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from "node:net";
import { createGateway, type Gateway } from "../gateway/create-gateway.ts";
import { toNodeHandler } from "../http/node-handler.ts";
import { CliError, messageOf } from "./errors.ts";
import type { Loaded } from "./load.ts";

/** Builds the gateway. @throws CliError that names file and path of what is wrong */
export function build({ options, file }: Loaded): Gateway {
  try {
    return createGateway(options);
  } catch (error) {
    throw new CliError(`${file ?? "embedded defaults"}: ${messageOf(error)}`, 1, { cause: error });
  }
}

export interface Running {
  /** `http://127.0.0.1:8080` */
  url: string;
  /** Takes no more requests, waits for running ones, settles and closes. */
  stop(drainMs?: number): Promise<void>;
}

/** Linux spreads connections evenly over processes that listen at one address; elsewhere `node:cluster` hands them out. */
const KERNEL_SPREADS = process.platform === "linux";

/**
 * @param isShared by the workers of one command
 * @throws CliError when the port is taken or the address is not this machine's
 */
export async function listen(gateway: Gateway, host: string, port: number, isShared = false): Promise<Running> {
  const server = createServer(toNodeHandler(gateway));
  const taken = await bind(server, host, port, isShared && KERNEL_SPREADS);
  return { url: urlOf(host, taken), stop: (drainMs) => stop(server, gateway, drainMs) };
}

/**
 * Takes an address for workers, and keeps everybody else from it until they listen. Port 0 becomes one that is free.
 * @throws CliError as `listen` does
 */
export async function claim(host: string, port: number): Promise<{ port: number; release(): void }> {
  // Alone first: else we would join whoever shares it already.
  const alone = createTcpServer();
  const taken = await bind(alone, host, port);
  await new Promise((resolve) => alone.close(resolve));
  const placeholder = createTcpServer((socket) => socket.destroy());
  if (KERNEL_SPREADS) await bind(placeholder, host, taken, true);
  return { port: taken, release: () => void placeholder.close() };
}

async function bind(server: TcpServer, host: string, port: number, reusePort = false): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port)));
    server.listen({ port, host, reusePort }, resolve);
  });
  return (server.address() as AddressInfo).port;
}

export const urlOf = (host: string, port: number) => `http://${host.includes(":") ? `[${host}]` : host}:${port}`;

async function stop(server: Server, gateway: Gateway, drainMs?: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  await gateway.close(drainMs === undefined ? {} : { drainMs });
  // Answers are written; sockets that clients keep open for their next request are not waited for.
  const idle = setInterval(() => server.closeIdleConnections(), 20);
  const patience = setTimeout(() => server.closeAllConnections(), 1_000);
  await closed;
  clearInterval(idle);
  clearTimeout(patience);
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): CliError {
  const reason = {
    EADDRINUSE: `port ${port} on ${host} is already in use; choose another with --port`,
    EACCES: `port ${port} may not be used by this user; choose one above 1023 with --port`,
    EADDRNOTAVAIL: `${host} is not an address of this machine`,
    ENOTFOUND: `${host} is not known`,
  }[error.code ?? ""];
  return new CliError(reason ?? `cannot listen on ${host}:${port}: ${error.message}`, 1, { cause: error });
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
