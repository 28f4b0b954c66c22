import type { Message, Part, TextPart, ToolResultPart } from "../../core/request.ts";
import { NATIVE_THINKING } from "../../core/thinking-envelope.ts";
import type { FitState } from "./index.ts";
import { mapped } from "./mapped.ts";
import { shortIds } from "./tool-ids.ts";

/**
 * Order rules and content the target cannot take. The steps are in the order in which they make each other's work
 * possible: first what a part may be, then who may follow whom, last the ids.
 */
export function fitMessages(state: FitState): void {
  const { request, capabilities } = state;
  request.system = mapped(request.system, (part) => (belongs(part, state) ? part : undefined));
  dropCacheMarks(state);
  let messages = mapped(request.messages, (message) => fitContent(message, state));
  messages = withoutEmpty(messages);
  messages = withoutEmpty(answerCalls(messages, state));
  if ((capabilities.systemMessages ?? "anywhere") !== "anywhere") messages = foldSystem(messages, state);
  if (capabilities.userAfterTool === "bridge") messages = bridge(messages, state);
  messages = fitEnds(messages, state);
  if (capabilities.toolCallId) messages = shortIds(messages, capabilities.toolCallId);
  request.messages = messages;
}

function belongs(part: TextPart, { dialect, changes }: FitState): boolean {
  if (part.onlyFor === undefined || part.onlyFor === dialect) return true;
  changes.push({ field: "system", kind: "ignored", from: part.text.slice(0, 26), reason: "for its own upstream only" });
  return false;
}

/** Cache marks are hints of one dialect; codecs that have none do not write them. Said once, with their number. */
function dropCacheMarks({ request, dialect, changes, capabilities }: FitState): void {
  if (capabilities.cacheMarks) return;
  let marks = 0;
  for (const part of request.system) if (part.cache) marks++;
  for (const tool of request.tools) if (tool.type === "function" && tool.cache) marks++;
  for (const message of request.messages)
    for (const part of message.content) if ("cache" in part && part.cache) marks++;
  if (marks > 0)
    changes.push({ field: "cache_control", kind: "ignored", from: marks, reason: `no counterpart in ${dialect}` });
}

function fitContent(message: Message, state: FitState): Message {
  const { capabilities, dialect } = state;
  let content = mapped(message.content, (part) => fitPart(part, state));
  if (message.role === "assistant" && capabilities.thinkingLast === false)
    content = withoutLastThinking(content, state);
  const { role, extensions, name } = message;
  const foreign = extensions !== undefined && extensions.dialect !== dialect;
  if (foreign) for (const field of Object.keys(extensions.value)) ignoreOnce(state, `messages.${field}`);
  const nameless = name !== undefined && capabilities.messageNames !== true;
  if (nameless) ignoreOnce(state, "messages.name");
  if (content === message.content && !foreign && !nameless) return message;
  return { role, content, extensions: foreign ? undefined : extensions, name: nameless ? undefined : name };
}

function withoutLastThinking(content: Part[], state: FitState): Part[] {
  const end = content.findLastIndex(({ type }) => type !== "thinking") + 1;
  if (end === content.length) return content;
  ignoreOnce(state, "messages.thinking");
  return content.slice(0, end);
}

/** The part as the target takes it; nothing where it has no such part. */
function fitPart(part: Part, state: FitState): Part | undefined {
  const { capabilities, changes, dialect } = state;
  switch (part.type) {
    case "tool-result":
      return fitResult(part, state);
    case "image":
      if (isForeignFile(part.source, state)) return omit("image", "the file is in another provider's store", state);
      return capabilities.images === false ? omit("image", "model has no vision", state) : part;
    case "document": {
      for (const note of ["title", "filename", "context"] as const) {
        // The name of a text goes into its words.
        const inWords = part.source.kind === "text" && note !== "context" && capabilities.documents !== true;
        const notes = capabilities.documentNotes;
        const taken = inWords || !notes || (part.source.kind === "base64" && notes.includes(note));
        if (part[note] !== undefined && !taken) ignoreOnce(state, `messages.document.${note}`);
      }
      if (part.source.kind === "text" && capabilities.documents !== true) {
        const title = part.title === undefined ? "" : ` title="${part.title.replaceAll('"', "'")}"`;
        changes.push({ field: "messages.document", kind: "moved", to: "text" });
        return { type: "text", text: `<document${title}>\n${part.source.text}\n</document>` };
      }
      if (isForeignFile(part.source, state)) return omit("document", "the file is in another provider's store", state);
      if (capabilities.documents === false) return omit("document", "not supported by the model", state);
      if (part.source.kind === "url" && capabilities.documentURLs === false)
        return omit("document", "only documents in the request are accepted", state);
      return part;
    }
    case "audio":
      return capabilities.audio === false ? omit("audio", "not supported by the model", state) : part;
    case "thinking":
      return keepsThinking(part.signature?.origin, part.redacted !== undefined, state) ? part : undefined;
    case "opaque":
      if (part.dialect === dialect) return part;
      if (part.kind === "tool_reference") {
        return { type: "text", text: `Tool ${String(part.value.tool_name ?? part.value.name)} is now available.` };
      }
      changes.push({ field: "messages", kind: "dropped", from: part.kind, reason: "the target has no such block" });
      return undefined;
    default:
      return part;
  }
}

function fitResult(result: ToolResultPart, state: FitState): ToolResultPart {
  const content = mapped(result.content as Part[], (part) => fitPart(part, state)) as ToolResultPart["content"];
  return content === result.content ? result : { ...result, content };
}

function isForeignFile(source: { kind: string; dialect?: string }, { dialect, capabilities }: FitState): boolean {
  return source.kind === "file" && (source.dialect !== dialect || capabilities.fileIds === false);
}

function omit(what: string, why: string, { changes }: FitState): Part {
  changes.push({ field: `messages.${what}`, kind: "dropped", reason: why });
  return { type: "text", text: `[${what} omitted: ${why}]` };
}

function keepsThinking(origin: string | undefined, redacted: boolean, state: FitState): boolean {
  const { capabilities, dialect, provider } = state;
  const mine = redacted ? dialect === NATIVE_THINKING : origin === provider || origin === dialect;
  const rule = capabilities.replayThinking ?? "own";
  if (mine ? rule !== "none" : rule === "any" && !redacted) return true;
  ignoreOnce(state, "messages.thinking");
  return false;
}

function ignoreOnce({ changes }: FitState, field: string): void {
  if (!changes.some((change) => change.field === field)) changes.push({ field, kind: "ignored" });
}

/** An instruction in mid-conversation that the target does not take where it stands, in the user's text before it. */
function foldSystem(messages: Message[], { capabilities, changes }: FitState): Message[] {
  const folded: Message[] = [];
  let count = 0;
  for (const [index, message] of messages.entries()) {
    const previous = folded.at(-1);
    const next = messages[index + 1]?.role;
    const inPlace =
      capabilities.systemMessages === "after-user" && previous?.role === "user" && next !== "user" && next !== "system";
    if (message.role !== "system" || inPlace) {
      folded.push(message);
      continue;
    }
    count++;
    const text = message.content.map((part) => (part.type === "text" ? part.text : "")).join("\n\n");
    const part: TextPart = { type: "text", text: `<system>\n${text}\n</system>` };
    if (previous?.role === "user") folded[folded.length - 1] = { ...previous, content: [...previous.content, part] };
    else folded.push({ role: "user", content: [part] });
  }
  if (count > 0) changes.push({ field: "messages.system", kind: "moved", from: count, to: "user text" });
  return folded;
}

/** Who may speak first and last. */
function fitEnds(messages: Message[], { request, capabilities, changes }: FitState): Message[] {
  const said = (text: string): Message => ({ role: "user", content: [{ type: "text", text }] });
  const { firstMessage = "any", prefill } = capabilities;
  const instructed = firstMessage === "user-or-system" && request.system.some((part) => part.text !== "");
  if (firstMessage !== "any" && !instructed && messages[0]?.role === "assistant") {
    changes.push({ field: "messages.user", kind: "added", reason: "a conversation may not begin with the assistant" });
    messages = [said("(The conversation begins.)"), ...messages];
  }
  if (prefill === false && messages.at(-1)?.role === "assistant") {
    changes.push({ field: "messages.prefill", kind: "adjusted", to: "request to continue", reason: "no prefill" });
    messages = [...messages, said("Continue.")];
  }
  const last = messages.at(-1);
  if (prefill === "trimmed" && last?.role === "assistant") messages = [...messages.slice(0, -1), trimmed(last)];
  return messages;
}

function trimmed(message: Message): Message {
  const content = [...message.content];
  for (let last = content.pop(); last !== undefined; last = content.pop()) {
    const text = last.type === "text" ? last.text.trimEnd() : undefined;
    if (text === "") continue;
    content.push(last.type === "text" ? { ...last, text: text! } : last);
    break;
  }
  return { ...message, content };
}

const isResult = ({ type }: Part) => type === "tool-result";

/**
 * Every tool call is answered once, directly after it: what was interrupted gets a result that says so, and a result
 * nobody asked for becomes text.
 */
function answerCalls(messages: Message[], { changes }: FitState): Message[] {
  const out: Message[] = [];
  let open: string[] = [];
  let waiting: Message[] = [];
  const interrupted = (): ToolResultPart[] =>
    open.map((id) => ({
      type: "tool-result",
      id,
      content: [{ type: "text", text: "Tool call was interrupted." }],
      isError: true,
    }));
  for (const message of messages) {
    // Nothing may come between calls and their results.
    if (message.role === "system" && open.length > 0) {
      waiting.push(message);
      continue;
    }
    if (message.role === "assistant") {
      if (open.length > 0) {
        changes.push({ field: "messages.tool_result", kind: "added", to: open.length, reason: "interrupted call" });
        out.push({ role: "user", content: interrupted() }, ...waiting);
        waiting = [];
      }
      open = [];
      for (const part of message.content) if (part.type === "tool-call") open.push(part.id);
      out.push(message);
      continue;
    }
    if (open.length === 0 && !message.content.some(isResult)) {
      out.push(message);
      continue;
    }
    const results: Part[] = [];
    const rest: Part[] = [];
    for (const part of message.content) {
      if (part.type !== "tool-result") rest.push(part);
      else if (open.includes(part.id)) {
        open = open.filter((id) => id !== part.id);
        results.push(part);
      } else {
        changes.push({ field: "messages.tool_result", kind: "moved", to: "text", reason: "no such call" });
        rest.push(...part.content);
      }
    }
    if (open.length > 0 && message.role === "user") {
      changes.push({ field: "messages.tool_result", kind: "added", to: open.length, reason: "interrupted call" });
      results.push(...interrupted());
      open = [];
    }
    const content = [...results, ...rest];
    const same = content.every((part, i) => part === message.content[i]) && content.length === message.content.length;
    out.push(same ? message : { ...message, content }, ...waiting);
    waiting = [];
  }
  if (open.length > 0) {
    changes.push({ field: "messages.tool_result", kind: "added", to: open.length, reason: "interrupted call" });
    out.push({ role: "user", content: interrupted() }, ...waiting);
  }
  return out;
}

/** Of a conversation of nothing else the user's last turn stays: there would be none. */
function withoutEmpty(messages: Message[]): Message[] {
  const said = mapped(messages, (message) => (saysSomething(message) ? message : undefined));
  return said.length > 0 ? said : messages.filter(({ role }) => role === "user").slice(-1);
}

/** A turn of nothing but white space is refused by some targets, left out by others, and says nothing to any. */
function saysSomething({ content }: Message): boolean {
  return content.some((part) => {
    if (part.type === "thinking")
      return part.text !== "" || part.redacted !== undefined || Boolean(part.signature?.data);
    return (part.type !== "text" && part.type !== "refusal") || part.text.trim() !== "";
  });
}

/** For targets that refuse a user turn right after a tool's: a short assistant turn between them. */
function bridge(messages: Message[], { changes }: FitState): Message[] {
  const out: Message[] = [];
  let bridges = 0;
  for (const [index, message] of messages.entries()) {
    const results = message.role === "user" ? message.content.filter((part) => part.type === "tool-result") : [];
    if (results.length === 0) {
      out.push(message);
      continue;
    }
    const rest = message.content.filter((part) => part.type !== "tool-result");
    out.push({ role: "user", content: results });
    const followed = rest.length === 0 && messages[index + 1]?.role === "user";
    if (rest.length > 0 || followed) {
      bridges++;
      out.push({ role: "assistant", content: [{ type: "text", text: "OK" }] });
    }
    if (rest.length > 0) out.push({ role: "user", content: rest });
  }
  if (bridges > 0)
    changes.push({ field: "messages.assistant", kind: "added", to: bridges, reason: "between tool and user" });
  return out;
}
