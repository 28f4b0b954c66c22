import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CalendarSpec,
  calendarWindows,
  FOREVER,
  lifetimeWindow,
  type Period,
  rollingWindow,
  type Weekday,
  windowOf,
} from "../../src/budget/windows.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** Both hemispheres, half and quarter hours, midnight changes, a skipped day (Apia 2011), two-hour summer time (Troll). */
const ZONES = [
  "UTC",
  "Europe/Paris",
  "Europe/London",
  "Europe/Dublin",
  "America/New_York",
  "America/St_Johns",
  "America/Sao_Paulo",
  "America/Havana",
  "America/Santiago",
  "America/Asuncion",
  "Africa/Cairo",
  "Africa/Casablanca",
  "Africa/El_Aaiun",
  "Asia/Beirut",
  "Asia/Tehran",
  "Asia/Gaza",
  "Asia/Kathmandu",
  "Asia/Amman",
  "Australia/Lord_Howe",
  "Australia/Adelaide",
  "Antarctica/Troll",
  "Antarctica/Casey",
  "Pacific/Apia",
  "Pacific/Chatham",
  "Pacific/Kiritimati",
];
const FIRST = Date.UTC(2010, 0, 1);
const LAST = Date.UTC(2028, 0, 1);

const zone = fc.constantFrom(...ZONES);
const moment = fc.integer({ min: FIRST, max: LAST });
const period = fc.constantFrom<Period>("minute", "hour", "day", "week", "month");

const at = (text: string) => Date.parse(text);
const day = (timeZone: string, text: string) => windowOf({ period: "day", timeZone }, at(text));
const lengthInHours = ({ start, end }: { start: number; end: number }) => (end - start) / HOUR;

describe("a calendar window", () => {
  test("holds the moment, and tiles the line with its neighbours", () => {
    fc.assert(
      fc.property(period, zone, moment, (period, timeZone, now) => {
        const spec = { period, timeZone };
        const window = windowOf(spec, now);
        expect(window.start).toBeLessThanOrEqual(now);
        expect(window.end).toBeGreaterThan(now);
        for (const same of [window.start, window.end - 1]) expect(calendarWindows(spec)(same)).toEqual(window);
        expect(calendarWindows(spec)(window.end).start).toBe(window.end);
        expect(calendarWindows(spec)(window.start - 1).end).toBe(window.start);
      }),
      { numRuns: 400 },
    );
  });

  test.each(ZONES)("days follow each other without gap or overlap for 18 years in %s", (timeZone) => {
    const windows = calendarWindows({ period: "day", timeZone });
    const lengths = new Set<number>();
    let window = windows(FIRST);
    while (window.end < LAST) {
      const next = windows(window.end);
      if (next.start !== window.end) expect.fail(`gap at ${new Date(window.end).toISOString()}`);
      window = next;
      lengths.add(lengthInHours(window));
    }
    for (const hours of lengths) expect(hours >= 21 && hours <= 27, `a day of ${hours} h`).toBe(true);
  });

  test("begins at 01:00 where midnight does not exist", () => {
    const cairo = day("Africa/Cairo", "2024-04-26T12:00:00Z");
    expect(new Date(cairo.start).toISOString()).toBe("2024-04-25T22:00:00.000Z");
    expect(lengthInHours(cairo)).toBe(23);
    expect(new Intl.DateTimeFormat("en", { timeZone: "Africa/Cairo", timeStyle: "short" }).format(cairo.start)).toMatch(
      /^1:00/,
    );
  });

  test("is as long as the day was", () => {
    expect(lengthInHours(day("Europe/Paris", "2024-03-31T12:00:00Z"))).toBe(23);
    expect(lengthInHours(day("Europe/Paris", "2024-10-27T12:00:00Z"))).toBe(25);
    expect(lengthInHours(day("Australia/Lord_Howe", "2024-04-07T01:00:00Z"))).toBe(24.5);
    expect(lengthInHours(day("Australia/Lord_Howe", "2024-10-06T01:00:00Z"))).toBe(23.5);
    expect(lengthInHours(day("Antarctica/Troll", "2024-03-31T12:00:00Z"))).toBe(22);
    expect(lengthInHours(day("Antarctica/Troll", "2024-10-27T12:00:00Z"))).toBe(26);
  });

  test("begins once where clocks go back over midnight", () => {
    // St John's, 2010-11-07: at 00:01 clocks went back to 23:01 of the day before.
    const windows = calendarWindows({ period: "day", timeZone: "America/St_Johns" });
    const midnight = at("2010-11-07T02:30:00Z");
    expect(windows(midnight - 1).end).toBe(midnight);
    for (const minutes of [0, 1, 30, 60, 61, 600]) {
      expect(calendarWindows({ period: "day", timeZone: "America/St_Johns" })(midnight + minutes * 60_000).start).toBe(
        midnight,
      );
    }
    expect(lengthInHours(windows(midnight))).toBe(25);
    // Casey, 2010-03-05: at 02:00 clocks went back to 23:00. Guam, 1969-01-26: at 00:01 to 23:01.
    const casey = day("Antarctica/Casey", "2010-03-04T15:30:00Z");
    expect([new Date(casey.start).toISOString(), lengthInHours(casey)]).toEqual(["2010-03-04T13:00:00.000Z", 27]);
    const guam = day("Pacific/Guam", "1969-01-25T13:30:00Z");
    expect([new Date(guam.start).toISOString(), lengthInHours(guam)]).toEqual(["1969-01-25T13:00:00.000Z", 25]);
  });

  test("skips a day that did not exist", () => {
    const before = day("Pacific/Apia", "2011-12-30T09:59:59.999Z");
    const after = day("Pacific/Apia", "2011-12-30T10:00:00Z");
    expect(before.end).toBe(after.start);
    expect([lengthInHours(before), lengthInHours(after)]).toEqual([24, 24]);
  });

  test("of a week begins on Monday, or on the day that is asked", () => {
    const now = at("2026-11-22T13:00:00Z"); // a Sunday
    const start = (weekStart?: Weekday) => new Date(windowOf({ period: "week", weekStart }, now).start).toISOString();
    expect(start()).toBe("2026-11-16T00:00:00.000Z");
    expect(start("monday")).toBe("2026-11-16T00:00:00.000Z");
    expect(start("sunday")).toBe("2026-11-22T00:00:00.000Z");
    expect(start("saturday")).toBe("2026-11-21T00:00:00.000Z");
    expect(windowOf({ period: "week" }, -1)).toEqual({ start: at("1969-12-29"), end: at("1970-01-05") });
  });

  test("of a month has the month's length, at both ends of a year", () => {
    const month = (text: string) => lengthInHours(windowOf({ period: "month" }, at(text))) / 24;
    expect(["2024-02-29", "2025-02-28", "2025-12-31", "2026-01-01", "2026-04-30"].map(month)).toEqual([
      29, 28, 31, 31, 30,
    ]);
    expect(windowOf({ period: "month", timeZone: "Asia/Tokyo" }, at("2025-12-31T15:00:00Z")).start).toBe(
      at("2025-12-31T15:00:00Z"),
    );
  });

  test("of an hour or minute is aligned to the epoch, whatever the zone", () => {
    const now = at("2024-10-27T01:30:30Z");
    for (const timeZone of ["Asia/Kathmandu", "UTC"]) {
      expect(windowOf({ period: "hour", timeZone }, now).start).toBe(at("2024-10-27T01:00:00Z"));
      expect(windowOf({ period: "minute", timeZone }, now).end).toBe(at("2024-10-27T01:31:00Z"));
    }
  });

  test("agrees with Temporal where Node has it", (context) => {
    if (!("Temporal" in globalThis)) return context.skip("this Node has no Temporal");
    fc.assert(
      fc.property(fc.constantFrom<Period>("day", "week", "month"), zone, moment, (period, timeZone, now) => {
        expect(windowOf({ period, timeZone }, now)).toEqual(temporalWindow(period, timeZone, now));
      }),
      { numRuns: 2000 },
    );
    // And every change of every zone: the days around each change of offset.
    for (const timeZone of ZONES) {
      const windows = calendarWindows({ period: "day", timeZone });
      for (const change of offsetChanges(timeZone)) {
        for (const near of [change - DAY, change - 1, change, change + 30 * 60_000, change + DAY]) {
          const expected = temporalWindow("day", timeZone, near);
          const found = windows(near);
          if (found.start !== expected.start || found.end !== expected.end) {
            expect.fail(`${timeZone} ${new Date(near).toISOString()}`);
          }
        }
      }
    }
  });

  test("costs one comparison while time stays inside it", () => {
    const windows = calendarWindows({ period: "day", timeZone: "Europe/Paris" });
    const noon = at("2024-06-01T12:00:00Z");
    const first = windows(noon);
    expect(windows(noon + 1)).toBe(first);
    expect(windowOf({ period: "day", timeZone: "Europe/Paris" }, noon)).toBe(
      windowOf({ period: "day", timeZone: "Europe/Paris" }, noon + 1),
    );
  });

  test("of an unknown zone, period or weekday throws when it is built, and says what is wrong", () => {
    const build = (spec: object) => () => calendarWindows(spec as CalendarSpec);
    expect(build({ period: "day", timeZone: "Europe/Atlantis" })).toThrow(/Unknown time zone "Europe\/Atlantis"/);
    expect(build({ period: "hour", timeZone: "nowhere" })).toThrow(/Unknown time zone "nowhere"/);
    expect(build({ period: "year" })).toThrow(/Unknown period "year"/);
    expect(build({ period: "week", weekStart: "Montag" })).toThrow(/Unknown weekday "Montag"/);
    expect(() => windowOf({ period: "day" }, Number.NaN)).toThrow(RangeError);
  });
});

describe("a rolling window", () => {
  const spec = fc.record({ ms: fc.integer({ min: 1, max: 40 * DAY }), buckets: fc.integer({ min: 1, max: 200 }) });

  test("covers at least its length, and at most one bucket more", () => {
    fc.assert(
      fc.property(spec, moment, fc.double({ min: 0, max: 1, noNaN: true }), (spec, now, share) => {
        const { bucket, from, step, until } = rollingWindow(spec, now);
        expect(bucket).toBeLessThanOrEqual(now);
        expect(bucket + step).toBeGreaterThan(now);
        expect((bucket - from) % step).toBe(0);
        expect((bucket - from) / step).toBeLessThanOrEqual(spec.buckets);
        const charged = now - Math.floor(share * (spec.ms - 1));
        expect(rollingWindow(spec, charged).bucket).toBeGreaterThanOrEqual(from);
        // The bucket counts until `until`, and no longer.
        expect(rollingWindow(spec, until - 1).from).toBeLessThanOrEqual(bucket);
        expect(rollingWindow(spec, until).from).toBeGreaterThan(bucket);
      }),
    );
  });

  test("has 60 buckets unless told otherwise", () => {
    expect(rollingWindow({ ms: 60_000 }, 1_000_500)).toEqual({
      bucket: 1_000_000,
      from: 940_000,
      step: 1000,
      until: 1_061_000,
    });
  });

  test("of a wrong size is refused", () => {
    for (const spec of [{ ms: 0 }, { ms: 1.5 }, { ms: 1000, buckets: 0 }, { ms: Number.NaN }]) {
      expect(() => rollingWindow(spec, 0)).toThrow(RangeError);
    }
  });
});

test("a lifetime window never ends, and its end is still a date", () => {
  expect(lifetimeWindow()).toEqual({ bucket: 0, from: 0, step: 0, until: FOREVER });
  expect(new Date(FOREVER).toISOString()).toMatch(/^\+275760/);
});

// ---- The reference: Temporal, of which these few parts are enough ----

interface PlainDate {
  readonly dayOfWeek: number;
  with(fields: { day: number }): PlainDate;
  add(duration: object): PlainDate;
  subtract(duration: object): PlainDate;
  toZonedDateTime(zone: string): { readonly epochMilliseconds: number };
}

interface Instant {
  readonly epochMilliseconds: number;
  toZonedDateTimeISO(zone: string): {
    toPlainDate(): PlainDate;
    getTimeZoneTransition(direction: "next"): { toInstant(): Instant } | null;
  };
}

function instant(now: number): Instant {
  const { Temporal } = globalThis as unknown as {
    Temporal: { Instant: { fromEpochMilliseconds(ms: number): Instant } };
  };
  return Temporal.Instant.fromEpochMilliseconds(now);
}

function temporalWindow(period: Period, timeZone: string, now: number) {
  const startOf = (date: PlainDate) => date.toZonedDateTime(timeZone).epochMilliseconds;
  const unit = period === "day" ? { days: 1 } : period === "week" ? { weeks: 1 } : { months: 1 };
  const today = instant(now).toZonedDateTimeISO(timeZone).toPlainDate();
  let first = today;
  if (period === "week") first = today.subtract({ days: today.dayOfWeek - 1 });
  if (period === "month") first = today.with({ day: 1 });
  // Where clocks went back over midnight, the old date shows again after the new window began.
  if (now >= startOf(first.add(unit))) first = first.add(unit);
  return { start: startOf(first), end: startOf(first.add(unit)) };
}

function offsetChanges(timeZone: string): number[] {
  const changes: number[] = [];
  let next = instant(FIRST).toZonedDateTimeISO(timeZone).getTimeZoneTransition("next");
  while (next && next.toInstant().epochMilliseconds < LAST) {
    changes.push(next.toInstant().epochMilliseconds);
    next = next.toInstant().toZonedDateTimeISO(timeZone).getTimeZoneTransition("next");
  }
  return changes;
}
