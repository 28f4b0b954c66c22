import type { Exchange } from "../core/exchange.ts";
import type { ChatRequest, Part } from "../core/request.ts";

/** What an image costs where nothing better is known; providers charge between 85 and 1,600 tokens. */
const IMAGE_TOKENS = 1_600;
const BYTES_PER_TOKEN = 4;
const PER_MESSAGE = 8;

/**
 * Input tokens of a request, estimated in linear time and without a vocabulary (a BPE tokenizer blocks for seconds
 * on hostile text). The size of the body is a good measure as long as it holds no base64.
 */
export function estimateInput(exchange: Exchange): number {
  const { body } = exchange;
  const { byteLength } = body;
  const bySize = Math.ceil(byteLength / BYTES_PER_TOKEN) + PER_MESSAGE;
  if (byteLength < 4_096 || exchange.operation === "embeddings" || !body.mentions("base64")) return bySize;
  try {
    return estimateRequest(exchange.request);
  } catch {
    // What only its own upstream can read passes through all the same.
    return bySize;
  }
}

/** The same from the canonical form: media by kind, text by size. */
export function estimateRequest(request: ChatRequest): number {
  let bytes = 0;
  let media = 0;
  const count = (part: Part): void => {
    switch (part.type) {
      case "text":
      case "thinking":
      case "refusal":
        bytes += Buffer.byteLength(part.text);
        break;
      case "image":
        media += IMAGE_TOKENS;
        break;
      case "document":
        if (part.source.kind === "text") bytes += Buffer.byteLength(part.source.text);
        else media += part.source.kind === "base64" ? Math.ceil(part.source.data.length / 40) : IMAGE_TOKENS;
        break;
      case "audio":
        media += Math.ceil(part.data.length / 400);
        break;
      case "tool-call":
        bytes += part.name.length + Buffer.byteLength(part.arguments);
        break;
      case "tool-result":
        part.content.forEach(count);
        break;
      case "opaque":
        bytes += JSON.stringify(part.value).length;
    }
  };
  request.system.forEach(count);
  for (const message of request.messages) message.content.forEach(count);
  for (const tool of request.tools) bytes += JSON.stringify(tool).length;
  return Math.ceil(bytes / BYTES_PER_TOKEN) + media + PER_MESSAGE * (request.messages.length + 1);
}

/** Output tokens of streamed text that nobody counted. */
export function estimateOutput(characters: number): number {
  return Math.ceil(characters / 3.5);
}

/** Upper bound for text: no byte-level tokenizer makes more tokens than there are (NFKC-normalised) bytes. */
export function boundInput(exchange: Exchange): number {
  const { text } = exchange.body;
  const bytes = Math.max(exchange.body.byteLength, Buffer.byteLength(text.normalize("NFKC")));
  return bytes + PER_MESSAGE;
}
