import { GatewayError } from "../core/errors.ts";

const UNSAFE_PATH = /[^\x21-\x7e\x80-\xff]/;
const NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const UNSAFE_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
/** Those that the connection writes for itself. */
const OWN = new Set(["connection", "keep-alive", "content-length", "transfer-encoding", "upgrade", "expect"]);

/** Writes the heads of requests to one origin. What all of them share is written once. */
export class RequestHeads {
  readonly #prefix: string;
  readonly #always: Readonly<Record<string, string>>;
  readonly #alwaysText: string;

  /** @param always headers of every request, names in lower case; `host` may be among them */
  constructor({ host, pathname }: URL, always: Record<string, string>) {
    this.#prefix = pathname.replace(/\/$/, "");
    for (const name in always) {
      if (!NAME.test(name)) throw new GatewayError("invalid_request", `\`${name}\` is no name of a header`);
    }
    this.#always = { host, ...always };
    this.#alwaysText = lines(this.#always);
  }

  /**
   * @param headers names in lower case; they go before those of every request
   * @throws GatewayError `invalid_request`: what ends a line would begin a request of somebody else's making
   */
  write(method: "GET" | "POST", path: string, headers: Record<string, string>, bodyBytes: number): string {
    if (UNSAFE_PATH.test(path)) {
      throw new GatewayError("invalid_request", "The path at the upstream holds characters that HTTP does not allow");
    }
    const length = method === "GET" ? "" : `content-length: ${bodyBytes}\r\n`;
    return `${method} ${this.#prefix}${path} HTTP/1.1\r\nconnection: keep-alive\r\n${this.#lines(headers)}${length}\r\n`;
  }

  #lines(headers: Record<string, string>): string {
    for (const name in headers) {
      if (name in this.#always) return lines({ ...this.#always, ...headers });
    }
    return this.#alwaysText + lines(headers);
  }
}

function lines(headers: Readonly<Record<string, string>>): string {
  let text = "";
  for (const name in headers) {
    if (OWN.has(name)) continue;
    const value = headers[name]!;
    if (UNSAFE_VALUE.test(value)) {
      throw new GatewayError("invalid_request", `The header \`${name}\` holds characters that HTTP does not allow`);
    }
    text += `${name}: ${value}\r\n`;
  }
  return text;
}
