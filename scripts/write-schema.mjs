// Writes config.schema.json, which editors use for turnpike.config.json, from the schema that checks it.
import { writeFileSync } from "node:fs";
import { configJsonSchema } from "../src/gateway/config.ts";

writeFileSync(new URL("../config.schema.json", import.meta.url), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
