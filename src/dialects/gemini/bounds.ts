import { type Dialect, type MemberReader, wholeNumber } from "../../core/dialect.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { camelName, refuse } from "./check.ts";

/** The configuration of a request as it came, with the caller's own spelling of its name. */
function configOf(body: MemberReader): { name: string; config: JsonObject } {
  for (const name of ["generationConfig", "generation_config"]) {
    const config = body.member(name) ?? undefined;
    if (config === undefined) continue;
    if (!isObject(config)) throw refuse(name, "must be an object");
    return { name, config };
  }
  return { name: "generationConfig", config: {} };
}

const entriesOf = (config: JsonObject, name: string) =>
  Object.entries(config).filter(([key, value]) => camelName(key) === name && value !== null);

export const bounds: Dialect["bounds"] = {
  read(body) {
    const { name, config } = configOf(body);
    const read = (field: string, min: number, max: number) =>
      entriesOf(config, field).map(([key, value]) => wholeNumber(value, `${name}.${key}`, min, max));
    const tokens = read("maxOutputTokens", 0, Number.MAX_SAFE_INTEGER);
    return {
      ...(tokens.length > 0 && { maxTokens: Math.min(...tokens) }),
      choices: Math.max(1, ...read("candidateCount", 1, 128)),
    };
  },
  write(body, tokens) {
    const { name, config } = configOf(body);
    const kept = Object.entries(config).filter(([key]) => camelName(key) !== "maxOutputTokens");
    return { [name]: JSON.stringify({ ...Object.fromEntries(kept), maxOutputTokens: tokens }) };
  },
};
