/** For our tests and yours: strict fake upstreams over real sockets, and the suite every budget store must pass. */

export type { MaybePromise } from "../core/util.ts";
export * from "./fakes/index.ts";
export * from "./store-race.ts";
export * from "./store-suite.ts";
