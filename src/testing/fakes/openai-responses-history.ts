import type { ResponsesItem } from "./openai-responses-items.ts";
import type { ResponsesBody } from "./openai-responses-schema.ts";
import { bad, type OpenAIError } from "./openai-schema.ts";
import { Seal } from "./seal.ts";

/** What a request to OpenAI's Responses says of earlier turns: ids, reasoning with what it led to, calls with outputs. */

/** Encrypted content: a Fernet token, about the id of its item. */
export const ENCRYPTED = new Seal([0x80, 0, 0, 0, 0]);

/** What a server keeps of the responses it was to store. */
export class ResponsesMemory {
  readonly #items = new Map<string, { item: ResponsesItem; before?: string; after?: string }>();
  readonly #responses = new Map<string, readonly ResponsesItem[]>();

  /** @param context all items that lead up to the output, and the output */
  store(id: string, context: readonly ResponsesItem[], output: readonly (ResponsesItem & { id: string })[]): void {
    this.#responses.set(id, context);
    for (const [i, item] of output.entries()) {
      const [before, after] = [output[i - 1], output[i + 1]];
      this.#items.set(item.id, {
        item,
        ...(before?.type === "reasoning" && { before: before.id }),
        ...(item.type === "reasoning" && after && { after: after.id }),
      });
    }
  }

  clear(): void {
    this.#items.clear();
    this.#responses.clear();
  }

  item(id: string) {
    return this.#items.get(id);
  }

  /** All that led up to, and came from, a response. */
  context(responseId: string): readonly ResponsesItem[] | undefined {
    return this.#responses.get(responseId);
  }
}

interface Refusal {
  status: number;
  error: OpenAIError;
}

/** @param memory undefined: whatever the body refers to counts as stored, and any encrypted content as genuine */
export function historyError(
  asked: ResponsesBody,
  items: readonly ResponsesItem[],
  memory: ResponsesMemory | undefined,
): Refusal | undefined {
  const error = idError(items) ?? (memory && encryptedError(items)) ?? orderError(asked, items, memory);
  if (error) return { status: 400, error };
  return (memory && storeError(asked, items, memory)) ?? callError(asked, items, memory);
}

const refuse = (message: string, param: string | null = "input", code: string | null = null): Refusal => ({
  status: 400,
  error: bad(message, param, code),
});

/** How an item's id begins. */
const PREFIX: Record<string, string> = {
  message: "msg",
  function_call: "fc",
  reasoning: "rs",
  custom_tool_call: "ctc",
};

function idError(items: readonly ResponsesItem[]): OpenAIError | undefined {
  const seen = new Set<string>();
  for (const [i, { type, id }] of items.entries()) {
    if (typeof id !== "string") continue;
    const param = `input[${i}].id`;
    const prefix = PREFIX[type];
    const rule = !/^[a-zA-Z0-9_-]+$/.test(id)
      ? "Expected an ID that contains letters, numbers, underscores, or dashes, but this value contained additional characters."
      : prefix !== undefined && !id.startsWith(prefix)
        ? `Expected an ID that begins with '${prefix}'.`
        : undefined;
    if (rule) return bad(`Invalid '${param}': '${id}'. ${rule}`, param, "invalid_value");
    if (seen.has(id)) {
      const message = `Duplicate item found with id ${id}. Remove duplicate items from your input and try again.`;
      return bad(message, "input");
    }
    seen.add(id);
  }
  return undefined;
}

/** Of this server, and of this very item. */
function encryptedError(items: readonly ResponsesItem[]): OpenAIError | undefined {
  for (const item of items) {
    if (item.type !== "reasoning" && item.type !== "compaction") continue;
    if (typeof item.encrypted_content !== "string") continue;
    const about = ENCRYPTED.read(item.encrypted_content);
    if (about !== undefined && (!item.id || about === item.id)) continue;
    const why =
      about === undefined
        ? "Encrypted content could not be decrypted or parsed."
        : "Encrypted content item_id did not match the target item id.";
    const which = item.id ? `for item ${item.id}` : item.encrypted_content.replace(/^(.{4}).*(.{4})$/s, "$1...$2");
    return bad(
      `The encrypted content ${which} could not be verified. Reason: ${why}`,
      null,
      "invalid_encrypted_content",
    );
  }
  return undefined;
}

/** Types that come out of the model. */
const OUTPUT = /_call$|^(reasoning|compaction|item_reference|mcp_list_tools|mcp_approval_request|program)$/;

function isOutput(item: ResponsesItem): boolean {
  return item.type === "message" ? item.role === "assistant" : OUTPUT.test(item.type);
}

/**
 * Reasoning stands directly before what it led to. What the server stores it wants back by its id [FX-P
 * thinking_with_modified_history]; with `store: false` any output of the model will do.
 */
function orderError(asked: ResponsesBody, items: readonly ResponsesItem[], memory: ResponsesMemory | undefined) {
  for (const [i, item] of items.entries()) {
    const known = item.id ? memory?.item(item.id) : undefined;
    const next = items[i + 1];
    if (item.type === "reasoning") {
      const follows = next !== undefined && isOutput(next) && (asked.store === false || Boolean(next.id));
      if (follows && (known?.after === undefined || known.after === next.id)) continue;
      const message = `Item '${item.id ?? ""}' of type 'reasoning' was provided without its required following item.`;
      return bad(message, "input");
    }
    if (known?.before !== undefined && items[i - 1]?.id !== known.before) {
      const wanted = `its required 'reasoning' item: '${known.before}'`;
      return bad(`Item '${item.id}' of type '${known.item.type}' was provided without ${wanted}.`, "input");
    }
  }
  return undefined;
}

/** What is only referred to must have been stored. */
function storeError(
  asked: ResponsesBody,
  items: readonly ResponsesItem[],
  memory: ResponsesMemory,
): Refusal | undefined {
  const { previous_response_id: previous, conversation } = asked;
  if (previous && !memory.context(previous)) {
    const message = `Previous response with id '${previous}' not found.`;
    return refuse(message, "previous_response_id", "previous_response_not_found");
  }
  if (conversation) {
    const id = typeof conversation === "string" ? conversation : conversation.id;
    return { status: 404, error: bad(`Conversation with id '${id}' not found.`, null) };
  }
  const lost = items.find(
    (item) =>
      (item.type === "item_reference" || (item.type === "reasoning" && !item.encrypted_content)) &&
      !(item.id && memory.item(item.id)),
  );
  if (!lost) return undefined;
  const hint =
    " Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input.";
  const message = `Item with id '${lost.id ?? ""}' not found.${asked.store === false ? hint : ""}`;
  return { status: 404, error: bad(message, "input") };
}

/** Every call has its output later on, and every output its call before it. */
function callError(asked: ResponsesBody, items: readonly ResponsesItem[], memory: ResponsesMemory | undefined) {
  const earlier = asked.previous_response_id ? memory?.context(asked.previous_response_id) : [];
  const isKnown = (memory !== undefined || !asked.previous_response_id) && !asked.conversation;
  const open = new Map<string, string>();
  for (const item of [...(earlier ?? []), ...items]) {
    const real = item.type === "item_reference" ? memory?.item(item.id)?.item : item;
    if (real?.type === "function_call" || real?.type === "custom_tool_call") open.set(real.call_id, real.type);
    if (real?.type !== "function_call_output" && real?.type !== "custom_tool_call_output") continue;
    const isAnswer = open.get(real.call_id) === real.type.replace(/_output$/, "");
    const what = real.type === "function_call_output" ? "function call" : "custom tool call";
    if (!isAnswer && isKnown) return refuse(`No tool call found for ${what} output with call_id ${real.call_id}.`);
    open.delete(real.call_id);
  }
  const [unanswered] = open;
  if (!unanswered) return undefined;
  const [id, type] = unanswered;
  return refuse(`No tool output found for ${type === "function_call" ? "function call" : "custom tool call"} ${id}.`);
}
