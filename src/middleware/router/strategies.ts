import type { Exchange } from "../../core/exchange.ts";
import type { Target } from "../../core/provider.ts";
import type { Strategy } from "./options.ts";
import type { Traffic } from "./traffic.ts";

/** A member of a group that may be asked now. */
export interface Member {
  /** Its place in the group. */
  place: number;
  target: Target;
  weight: number;
}

export interface Circumstances {
  exchange: Exchange;
  traffic: Traffic;
  /** Estimated price of this request there; `null` = unknown. */
  price(target: Target): number | null;
  /** A rehearsal: no counter moves. */
  peek: boolean;
}

/** Puts the members that may be asked into an order. One per group, with the group's own counters. */
export type Order = <M extends Member>(members: readonly M[], now: Circumstances) => M[];

/** One decision of so many goes to the member that was measured longest ago. */
const EXPLORE_EVERY = 20;

export function orderBy(strategy: Strategy): Order {
  switch (strategy) {
    case "order":
      return (members) => [...members];
    case "weighted":
      return rotation(({ weight }) => weight);
    case "round-robin":
      return rotation(() => 1);
    case "least-busy":
      return leastBusy();
    case "fastest":
      return fastest();
    case "cheapest":
      return cheapest;
  }
}

/** Smooth weighted round-robin: exact shares without chance, also while some members are left out. */
function rotation(weightOf: (member: Member) => number): Order {
  const credits = new Map<number, number>();
  return (members, { peek }) => {
    const rated = members.map((member) => ({ member, credit: (credits.get(member.place) ?? 0) + weightOf(member) }));
    const sorted = rated.toSorted((a, b) => b.credit - a.credit);
    if (!peek && sorted[0]) {
      const total = members.reduce((sum, member) => sum + weightOf(member), 0);
      sorted[0].credit -= total;
      for (const { member, credit } of rated) credits.set(member.place, credit);
    }
    return sorted.map(({ member }) => member);
  };
}

/** Fewest running requests for its weight; equals take turns. */
function leastBusy(): Order {
  const turns = rotation(({ weight }) => weight);
  return (members, now) => {
    const load = ({ target, weight }: Member) => now.traffic.running(target) / weight;
    return turns(members, now).toSorted((a, b) => load(a) - load(b));
  };
}

/** Shortest moving time to the first token; who was never measured comes first, and now and then who was long ago. */
function fastest(): Order {
  let decisions = 0;
  return (members, { exchange, traffic, peek }) => {
    const stream = exchange.operation === "chat" && exchange.body.stream;
    const explores = (decisions + 1) % EXPLORE_EVERY === 0;
    if (!peek) decisions++;
    const took = ({ target }: Member) => traffic.speed(target, stream) ?? -1;
    const sorted = members.toSorted(
      (a, b) => took(a) - took(b) || traffic.running(a.target) - traffic.running(b.target),
    );
    if (!explores) return sorted;
    const stale = members.toSorted((a, b) => traffic.measured(a.target) - traffic.measured(b.target))[0]!;
    return [stale, ...sorted.filter((member) => member !== stale)];
  };
}

/** Lowest estimated price of this request; an unknown price is the highest. */
const cheapest: Order = (members, { price }) =>
  members
    .map((member) => ({ member, nano: price(member.target) ?? Number.POSITIVE_INFINITY }))
    .toSorted((a, b) => (a.nano === b.nano ? 0 : a.nano - b.nano))
    .map(({ member }) => member);
