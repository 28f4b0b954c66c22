/**
 * Windows of limits. Calendar windows (`day`, `week`, `month`) go from the first instant of a local date to the first
 * instant of another: a day can last 22 to 26 hours, and need not begin at 00:00. `minute` and `hour` are aligned to
 * the epoch, so that no hour happens twice or is skipped. All times are epoch ms.
 */

export type Period = "minute" | "hour" | "day" | "week" | "month";

export type Weekday = "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday";

export interface CalendarSpec {
  readonly period: Period;
  /** IANA name such as `Europe/Paris`. No meaning for `minute` and `hour`. @default "UTC" */
  readonly timeZone?: string | undefined;
  /** First day of a `week`. @default "monday" */
  readonly weekStart?: Weekday | undefined;
}

/** `start ≤ t < end`, epoch ms. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

export interface RollingSpec {
  /** Length of the window, ms. */
  readonly ms: number;
  /** Into how many buckets it is cut: the window is effectively up to one bucket longer. @default 60 */
  readonly buckets?: number | undefined;
}

/** The place of a moment in a counter's buckets: what a `Hold` needs. */
export interface Span {
  /** Start of the bucket that is charged. */
  readonly bucket: number;
  /** First bucket that counts. */
  readonly from: number;
  /** Width of a bucket in ms; 0 = the bucket is the whole window. */
  readonly step: number;
  /** From here on the bucket no longer counts. */
  readonly until: number;
}

/** The latest moment that a `Date` can tell: the end of a lifetime window. */
export const FOREVER = 8_640_000_000_000_000;

/**
 * Builds the windows of a spec: a function from a moment to its window, which costs one comparison while the moment
 * stays in the window of the last call.
 * @throws RangeError for an unknown period, time zone or weekday.
 * @example const day = calendarWindows({ period: "day", timeZone: "Europe/Paris" }); day(Date.now()).end
 */
export function calendarWindows(spec: CalendarSpec): (now: number) => Window {
  const find = finder(spec);
  let last: Window = { start: 0, end: 0 };
  return function windowAt(now) {
    if (now >= last.start && now < last.end) return last;
    checkTime(now);
    last = find(now);
    return last;
  };
}

/**
 * The window that holds `now`. Specs that were asked before are remembered (the last 256 different ones).
 * @throws RangeError for an unknown period, time zone or weekday.
 */
export function windowOf(spec: CalendarSpec, now: number): Window {
  const key = `${spec.period} ${spec.timeZone ?? ""} ${spec.weekStart ?? ""}`;
  let windows = built.get(key);
  if (!windows) {
    windows = calendarWindows(spec);
    if (built.size >= 256) built.delete(built.keys().next().value!);
    built.set(key, windows);
  }
  return windows(now);
}

const built = new Map<string, (now: number) => Window>();

/**
 * The place of `now` in a rolling window. The buckets that count cover at least `ms`, so the charges of *any* interval
 * of that length stay within the limit.
 * @throws RangeError when `ms` or `buckets` is not a whole number of at least 1.
 */
export function rollingWindow({ ms, buckets = 60 }: RollingSpec, now: number): Span {
  if (!Number.isSafeInteger(ms) || ms < 1) throw new RangeError(`A rolling window needs whole ms, at least 1: ${ms}`);
  if (!Number.isSafeInteger(buckets) || buckets < 1) throw new RangeError(`buckets must be at least 1: ${buckets}`);
  checkTime(now);
  const step = Math.ceil(ms / buckets);
  const bucket = Math.floor(now / step) * step;
  const length = Math.ceil(ms / step) * step;
  return { bucket, from: bucket - length, step, until: bucket + length + step };
}

/** The one window of a limit that never opens again. */
export function lifetimeWindow(): Span {
  return { bucket: 0, from: 0, step: 0, until: FOREVER };
}

// ---- Finding a window ----

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEKDAYS: readonly Weekday[] = [
  "monday",
  "tuesday",
  "wednesday",
  "thursday",
  "friday",
  "saturday",
  "sunday",
] as const;

function finder({ period, timeZone = "UTC", weekStart = "monday" }: CalendarSpec): (now: number) => Window {
  const firstDay = WEEKDAYS.indexOf(weekStart);
  if (firstDay < 0) throw new RangeError(`Unknown weekday "${weekStart}": use one of ${WEEKDAYS.join(", ")}`);
  const local = localClock(timeZone);
  switch (period) {
    case "minute":
      return (now) => aligned(now, MINUTE);
    case "hour":
      return (now) => aligned(now, HOUR);
    case "day":
      return (now) => dates(local, now, (date) => [date, date + DAY]);
    case "week":
      return (now) =>
        dates(local, now, (date) => {
          // 1970-01-01 was a Thursday, three days after a Monday.
          const start = date - modulo(date / DAY + 3 - firstDay, 7) * DAY;
          return [start, start + 7 * DAY];
        });
    case "month":
      return (now) =>
        dates(local, now, (date) => {
          const day = new Date(date);
          return [
            Date.UTC(day.getUTCFullYear(), day.getUTCMonth(), 1),
            Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 1),
          ];
        });
    default:
      throw new RangeError(`Unknown period "${String(period)}": use minute, hour, day, week or month`);
  }
}

function aligned(now: number, size: number): Window {
  const start = Math.floor(now / size) * size;
  return { start, end: start + size };
}

/** A local date is written as the epoch ms of its midnight *in UTC*. `bounds`: first date, and first date after. */
function dates(local: LocalClock, now: number, bounds: (date: number) => [number, number]): Window {
  const [first, after] = bounds(dateOf(local(now)));
  const window = { start: firstInstant(local, first), end: firstInstant(local, after) };
  // Clocks that go back over midnight show the old date again, after the new one has begun.
  return now < window.end ? window : { start: window.end, end: firstInstant(local, bounds(after)[1]) };
}

/** The first moment whose local date is `date` or later, to the millisecond. */
function firstInstant(local: LocalClock, date: number): number {
  const found = findMidnight(local, date);
  // Where clocks went back just after midnight (Casey 2010, Guam 1969) there are two such moments: take the earlier.
  const before = found - 4 * HOUR;
  const earlier = date - (local(before) - before);
  return earlier < found && local(earlier) >= date ? earlier : found;
}

/** A moment at which the local date becomes `date` or later: what the clocks of that day suggest, or by bisection. */
function findMidnight(local: LocalClock, date: number): number {
  const guess = date - (local(date) - date);
  if (local(guess) >= date && local(guess - 1) < date) return guess;
  let before = date - 26 * HOUR;
  let after = date + 26 * HOUR;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (local(middle) >= date) after = middle;
    else before = middle;
  }
  return after;
}

function dateOf(localTime: number): number {
  return localTime - modulo(localTime, DAY);
}

/** From epoch ms to what the clocks of a zone show, written as epoch ms in UTC. */
type LocalClock = (at: number) => number;

function localClock(timeZone: string): LocalClock {
  const format = formatter(timeZone);
  return (at) => {
    const [month, day, year, hour, minute, second] = format.format(at).match(/\d+/g)!.map(Number);
    return Date.UTC(year!, month! - 1, day, hour, minute, second) + modulo(at, 1000);
  };
}

function formatter(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch (cause) {
    throw new RangeError(`Unknown time zone "${timeZone}": use an IANA name such as "Europe/Paris" or "UTC"`, {
      cause,
    });
  }
}

function checkTime(now: number): void {
  if (!(Math.abs(now) <= FOREVER)) throw new RangeError(`Not a time in epoch ms: ${now}`);
}

function modulo(value: number, size: number): number {
  return ((value % size) + size) % size;
}
