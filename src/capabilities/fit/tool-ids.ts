import { createHash } from "node:crypto";
import type { Message } from "../../core/request.ts";
import { mapped } from "./mapped.ts";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * Deterministic ids for providers with a fixed form (wire.md §4.2): a legal id stays, any other becomes the first
 * characters of base62(sha256(id)), rehashed on collision. No state: the same hash serves call and result.
 */
export function shortIds(messages: Message[], rule: { pattern: RegExp; length: number }): Message[] {
  const legal = new Map<string, string>();
  const taken = new Set<string>();
  for (const message of messages) {
    for (const part of message.content) {
      if ((part.type === "tool-call" || part.type === "tool-result") && rule.pattern.test(part.id)) taken.add(part.id);
    }
  }
  const map = (id: string): string => {
    if (rule.pattern.test(id)) return id;
    let short = legal.get(id);
    for (let round = 0; short === undefined; round++) {
      const candidate = base62(round === 0 ? id : `${id}#${round}`, rule.length);
      if (taken.has(candidate)) continue;
      taken.add(candidate);
      legal.set(id, candidate);
      short = candidate;
    }
    return short;
  };
  return mapped(messages, (message) => {
    const content = mapped(message.content, (part) => {
      if (part.type !== "tool-call" && part.type !== "tool-result") return part;
      const id = map(part.id);
      return id === part.id ? part : { ...part, id };
    });
    return content === message.content ? message : { ...message, content };
  });
}

function base62(text: string, length: number): string {
  const digest = createHash("sha256").update(text).digest();
  let number = BigInt(`0x${digest.toString("hex")}`);
  let out = "";
  while (out.length < length) {
    out += BASE62[Number(number % 62n)];
    number /= 62n;
  }
  return out;
}
