/** Process: one gateway over a real socket. Argument: its options as JSON. Ends when its parent says so, or leaves. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { toNodeHandler } from "../../../src/http/node-handler.ts";
import { openGateway } from "../gateway.ts";

const { gateway, close } = openGateway(JSON.parse(process.argv[2]!));
const server = createServer(toNodeHandler(gateway));
// Callers keep their connections, also through a pause of a busy machine.
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send!({ port: (server.address() as AddressInfo).port }));
process.on("message", async () => {
  server.closeAllConnections();
  server.close();
  await close();
  process.exit();
});
process.on("disconnect", () => process.exit(1));
