import { anthropicWire } from "./anthropic-messages.ts";
import { geminiWire } from "./gemini.ts";
import { chatWire } from "./openai-chat.ts";
import { responsesWire } from "./openai-responses.ts";
import type { Wire } from "./wire.ts";

export type { Said, Wire } from "./wire.ts";

export const WIRES: readonly Wire[] = [anthropicWire, chatWire, responsesWire, geminiWire];

export function wireOf(dialect: string): Wire {
  return WIRES.find((wire) => wire.dialect === dialect)!;
}
