import type { BudgetUsage } from "../budget/report.ts";
import type { Identity } from "../core/exchange.ts";
import { CliError } from "./errors.ts";

export interface UsageOptions {
  url?: string;
  key?: string;
  json?: boolean;
}

/** What `GET /v1/me` says. */
export interface Me {
  identity: Identity;
  limits: BudgetUsage[];
}

export interface Look {
  /** Epoch ms. */
  now: number;
  /** Colours and block characters; else plain ASCII. */
  fancy: boolean;
  /** IANA; default: this machine's. */
  timeZone?: string;
}

const WAIT_MS = 10_000;
const BAR_WIDTH = 40;
const WORDS: Record<BudgetUsage["unit"], string> = {
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  requests: "requests",
  usd: "US dollars",
  concurrent: "requests at a time",
};

/** `turnpike usage`: asks a running gateway what its caller has used, and what is left. @throws CliError */
export async function usage({ url = "http://127.0.0.1:8080", key, json }: UsageOptions): Promise<void> {
  const me = await fetchMe(url, key || process.env.TURNPIKE_KEY);
  if (json) {
    process.stdout.write(`${JSON.stringify(me, null, 2)}\n`);
    return;
  }
  const fancy = process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  process.stdout.write(`${usageLines(me, { now: Date.now(), fancy }).join("\n")}\n`);
}

async function fetchMe(url: string, key: string | undefined): Promise<Me> {
  let address: URL;
  try {
    address = new URL(`${url.replace(/\/+$/, "").replace(/\/v1$/, "")}/v1/me`);
  } catch {
    throw new CliError(`--url must be an address such as http://127.0.0.1:8080, not "${url}"`, 2);
  }
  const { origin } = address;
  let response: Response;
  try {
    response = await fetch(address, {
      headers: { accept: "application/json", ...(key && { authorization: `Bearer ${key}` }) },
      // The key is for this gateway alone.
      redirect: "error",
      signal: AbortSignal.timeout(WAIT_MS),
    });
  } catch (error) {
    throw new CliError(`no gateway answers at ${origin}; start it, or name another with --url`, 1, { cause: error });
  }
  const body = (await response.json().catch(() => undefined)) as (Partial<Me> & { error?: unknown }) | undefined;
  if (response.status === 401) {
    throw new CliError(
      key
        ? `${origin} does not accept this key${reasonOf(body)}`
        : `${origin} asks for a key: set TURNPIKE_KEY, or give --key`,
    );
  }
  if (!response.ok) throw new CliError(`${origin} answered ${response.status}${reasonOf(body)}`);
  if (!Array.isArray(body?.limits)) throw new CliError(`what answers at ${origin} is not a Turnpike gateway`);
  return { identity: body.identity ?? {}, limits: body.limits };
}

function reasonOf(body: { error?: unknown } | undefined): string {
  const message = (body?.error as { message?: unknown } | undefined)?.message;
  return typeof message === "string" ? `: ${plain(message).slice(0, 300)}` : "";
}

/** The whole answer in lines, without the last line's end. */
export function usageLines({ identity, limits }: Me, look: Look): string[] {
  const { key, user, team, tags } = identity;
  const who = [
    key && `key ${key}`,
    user && `user ${user}`,
    team && `team ${team}`,
    tags?.length && `tags ${tags.join(", ")}`,
  ]
    .filter((fact) => typeof fact === "string")
    .map(plain);
  return [
    who.length > 0 ? `You are ${who.join(", ")}.` : "You are not told apart from other callers.",
    ...(limits.length === 0
      ? ["No limit is in force on you."]
      : limits.flatMap((limit) => ["", ...limitLines(limit, look)])),
  ];
}

function limitLines(limit: BudgetUsage, look: Look): string[] {
  const { unit, amount, used, held, remaining } = limit;
  const figure = (value: number) => amountText(unit, value);
  const share = amount > 0 ? (used + held) / amount : 1;
  const running = unit === "concurrent";
  const parts = running
    ? [`${figure(held)} of ${figure(amount)} running`]
    : [
        `${figure(used)} of ${figure(amount)}${unit === "usd" ? "" : ` ${WORDS[unit]}`} used`,
        ...(held > 0 ? [`${figure(held)} held by running requests`] : []),
        `${figure(remaining)} left`,
      ];
  const breakdown = Object.entries(limit.byModel ?? {}).sort(([, a], [, b]) => b - a);
  const width = Math.max(0, ...breakdown.map(([model]) => plain(model).length));
  return [
    `${paint("1", plain(limit.limit), look)}${running ? ` (${WORDS[unit]})` : ""}`,
    `  ${bar(limit, look)} ${percent(share)}`,
    `  ${parts.join(", ")}`,
    `  ${opensText(limit, look)}`,
    ...breakdown.map(([model, value]) => {
      const of = used > 0 ? `  ${percent(value / used).padStart(5)}` : "";
      return `    ${plain(model).padEnd(width)}  ${figure(value).padStart(12)}${of}`;
    }),
  ];
}

function bar({ amount, used, held, unit }: BudgetUsage, look: Look): string {
  const cells = (value: number) =>
    amount > 0 ? Math.min(BAR_WIDTH, Math.round((value / amount) * BAR_WIDTH)) : BAR_WIDTH;
  const full = cells(used);
  const busy = Math.max(0, cells(used + held) - full);
  const [one, two, three] = look.fancy ? ["█", "▓", "░"] : ["#", "=", "."];
  const share = amount > 0 ? (used + held) / amount : 1;
  const colour = unit === "concurrent" || share < 0.8 ? "32" : share < 1 ? "33" : "31";
  const filled = paint(colour, one!.repeat(full) + two!.repeat(busy), look);
  return `[${filled}${three!.repeat(BAR_WIDTH - full - busy)}]`;
}

function opensText({ resetsAt, unit }: BudgetUsage, { now, timeZone }: Look): string {
  if (unit === "concurrent") return "free again as requests end";
  const time = resetsAt === null ? Number.NaN : Date.parse(resetsAt);
  if (Number.isNaN(time)) return "prepaid: no time brings more";
  const local = new Intl.DateTimeFormat("en-GB", {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    timeZoneName: "short",
    ...(timeZone && { timeZone }),
  }).format(time);
  return `more at ${local} (${relative(time - now)})`;
}

/** `in 3 h 20 min`: the two largest units. */
export function relative(ms: number): string {
  if (ms <= 0) return "now";
  const seconds = Math.ceil(ms / 1_000);
  if (seconds < 60) return `in ${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  const [days, hours, rest] = [Math.floor(minutes / 1_440), Math.floor((minutes % 1_440) / 60), minutes % 60];
  const parts = [days > 0 && `${days} d`, hours > 0 && `${hours} h`, days === 0 && rest > 0 && `${rest} min`];
  return `in ${parts.filter(Boolean).join(" ")}`;
}

function amountText(unit: BudgetUsage["unit"], value: number): string {
  if (unit !== "usd") return value.toLocaleString("en-US");
  return `$${value.toFixed(value !== 0 && Math.abs(value) < 1 ? 4 : 2)}`;
}

const percent = (share: number) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

const paint = (code: string, text: string, { fancy }: Look) =>
  fancy && text !== "" ? `\u001b[${code}m${text}\u001b[0m` : text;

/** Names come from the gateway's configuration; none may steer a terminal. */
const plain = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "?");
