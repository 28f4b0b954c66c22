import { describe, test } from "vitest";
import { leased } from "../../src/stores/leased.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";

storeSuite({ name: "leased memory", create: () => leased(memoryStore()) }, { describe, test });
