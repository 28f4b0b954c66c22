/** For our tests and yours: strict fake upstreams over real sockets, and the suite every budget store must pass. */
export * from "./fakes/index.ts";
export * from "./store-suite.ts";
