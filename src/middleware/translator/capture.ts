import { bodyText } from "../../core/call-body.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamCall, UpstreamResponse } from "../../core/provider.ts";

/** Raw answers are kept up to this size; logs are not archives. */
const MAX_CAPTURE = 1024 * 1024;

const SECRET_HEADERS = /^(authorization|x-api-key|api-key|x-goog-api-key|cookie|set-cookie|proxy-authorization)$/;

/** For providers with `capture: true`: the raw request, redacted headers, as it goes out. */
export function captureRequest(exchange: Exchange, call: UpstreamCall): void {
  const body = bodyText(call.body ?? "");
  exchange.capture = {
    request: {
      url: exchange.target!.provider.baseURL + call.path,
      headers: redacted(call.headers),
      body: body.slice(0, MAX_CAPTURE),
    },
  };
}

/** … and the raw answer, byte for byte, while it passes. */
export function captureBody(exchange: Exchange, response: UpstreamResponse): UpstreamResponse {
  const capture = { status: response.status, headers: redacted(response.headers), body: "" };
  exchange.capture = { ...exchange.capture, response: capture };
  const decoder = new TextDecoder();
  return {
    ...response,
    body: {
      start: (sink) =>
        response.body.start({
          ...sink,
          data(chunk) {
            if (capture.body.length < MAX_CAPTURE) capture.body += decoder.decode(chunk, { stream: true });
            sink.data(chunk);
          },
          end: () => sink.end(),
          error: (error) => sink.error(error),
        }),
      pause: () => response.body.pause(),
      resume: () => response.body.resume(),
      cancel: () => response.body.cancel(),
    },
  };
}

function redacted(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, SECRET_HEADERS.test(name) ? "[redacted]" : value]),
  );
}
