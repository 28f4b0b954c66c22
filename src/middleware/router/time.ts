export const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;
type Day = (typeof DAYS)[number];

export interface TimeWindow {
  timeZone: string;
  days?: readonly Day[] | undefined;
  /** `HH:MM` */
  from: string;
  to: string;
}

/**
 * Whether a moment lies in the window. One over midnight belongs to the day on which it began.
 * @throws RangeError for an unknown time zone
 */
export function timeMatcher({ timeZone, days, from, to }: TimeWindow): (epochMs: number) => boolean {
  const clock = new Intl.DateTimeFormat("en-US", {
    timeZone,
    weekday: "long",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  const [start, end] = [minutes(from), minutes(to)];
  return (epochMs) => {
    const parts = Object.fromEntries(clock.formatToParts(epochMs).map(({ type, value }) => [type, value]));
    const now = Number(parts.hour) * 60 + Number(parts.minute);
    const today = DAYS.indexOf(parts.weekday!.toLowerCase() as Day);
    const on = (day: number) => !days || days.includes(DAYS[(day + 7) % 7]!);
    if (start <= end) return now >= start && now < end && on(today);
    return now >= start ? on(today) : now < end && on(today - 1);
  };
}

function minutes(text: string): number {
  const [hours, rest] = text.split(":");
  return Number(hours) * 60 + Number(rest);
}
