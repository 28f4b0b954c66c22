/**
 * The simulator's own books, kept as plainly as possible: what the shared store was told (`Books`, compared with the
 * store after each step) and what the upstreams really delivered (`Truth`). The numbers in the messages are those of the
 * invariants in budgets.md §3.12.
 */
import type {
  BudgetStore,
  CounterRef,
  Hold,
  ReserveRequest,
  ReserveResult,
  SettleOutcome,
  SettleRequest,
} from "../../src/core/budget-store.ts";

export class Violation extends Error {
  override readonly name = "Violation";
}

export function insist(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Violation(message());
}

interface Row {
  state: "held" | "settled" | "released" | "expired";
  readonly fingerprint: string;
  readonly granted: number;
  readonly onExpire: "release" | "charge";
  readonly owner: string;
  expiresAt: number;
  readonly amounts: Map<string, number>;
  /** Its owner has begun to tell what was spent of it. */
  isTold?: boolean;
  /** It expired before its owner told what was spent. */
  wasLost: boolean;
}

interface Bucket {
  readonly counter: string;
  readonly bucket: number;
  used: number;
  held: number;
  /** Units that passed what was held for them: they alone may pass the cap. */
  overrun: number;
}

const keyOf = ({ counter, bucket }: { counter: string; bucket: number }) => `${counter}@${bucket}`;

/** What a right store must hold after the calls that reached it. */
export class Books {
  readonly rows = new Map<string, Row>();
  readonly buckets = new Map<string, Bucket>();
  /** Charged by a process, per bucket: the sum of its settles and renewals. */
  readonly postedBy = new Map<string, number>();
  /** Buckets that changed since the last look. */
  readonly dirty = new Set<string>();

  bucket(ref: { counter: string; bucket: number }): Bucket {
    const key = keyOf(ref);
    let bucket = this.buckets.get(key);
    if (!bucket) {
      bucket = { counter: ref.counter, bucket: ref.bucket, used: 0, held: 0, overrun: 0 };
      this.buckets.set(key, bucket);
    }
    this.dirty.add(key);
    return bucket;
  }

  sums({ counter, from, bucket, step }: CounterRef): Pick<Bucket, "used" | "held" | "overrun"> {
    const sum = { used: 0, held: 0, overrun: 0 };
    for (let start = from; start <= bucket; start += step || 1) {
      const found = this.buckets.get(`${counter}@${start}`);
      sum.used += found?.used ?? 0;
      sum.held += found?.held ?? 0;
      sum.overrun += found?.overrun ?? 0;
      if (step === 0) break;
    }
    return sum;
  }

  expire(now: number): void {
    for (const row of this.rows.values()) {
      if (row.state !== "held" || row.expiresAt > now) continue;
      row.state = "expired";
      row.wasLost = true;
      for (const [key, amount] of row.amounts) {
        const bucket = this.bucket(fromKey(key));
        bucket.held -= amount;
        if (row.onExpire === "charge") bucket.used += amount;
      }
    }
  }

  reserved(owner: string, request: ReserveRequest, result: ReserveResult, now: number): void {
    const found = this.rows.get(request.id);
    if (found) {
      insist(result.ok && result.replayed, () => `[6] ${request.id} was reserved twice and not answered as a replay`);
      insist(
        result.granted === found.granted,
        () => `[6] ${request.id}: ${result.granted} instead of ${found.granted}`,
      );
      return;
    }
    let fits = request.want;
    const short: string[] = [];
    for (const hold of request.holds) {
      if (hold.limit === null) continue;
      // Later buckets too, whose windows have this one in them.
      const { used, held } = this.sums({ ...hold, bucket: 2 * hold.bucket - hold.from });
      const room = hold.limit - used - held - hold.fixed;
      const most = room < 0 ? -1 : hold.perUnit === 0 ? request.want : Math.floor(room / hold.perUnit);
      if (most < request.min) short.push(hold.counter);
      fits = Math.min(fits, most);
    }
    if (!result.ok) {
      const denied = result.denied.map(({ counter }) => counter);
      insist(String(denied) === String(short), () => `[4, 10] denied for ${denied}, though short is ${short}`);
      return;
    }
    insist(short.length === 0, () => `[1] ${request.id} was granted ${result.granted}, though ${short} had no room`);
    insist(result.granted === fits && !result.replayed, () => `[10] granted ${result.granted}, but ${fits} fit`);
    const amounts = new Map<string, number>();
    for (const hold of request.holds) {
      const amount = hold.fixed + result.granted * hold.perUnit;
      amounts.set(keyOf(hold), amount);
      const bucket = this.bucket(hold);
      bucket.held += amount;
    }
    const { fingerprint, onExpire, ttlMs } = request;
    const row = { state: "held", fingerprint, granted: result.granted, onExpire, owner, amounts } as const;
    this.rows.set(request.id, { ...row, expiresAt: now + ttlMs, wasLost: false });
  }

  settled(owner: string, { id, actual, holds }: SettleRequest, answer: { outcome: SettleOutcome; overrun: number }) {
    const row = this.rows.get(id);
    const expected = row ? OUTCOME[row.state] : "late-unknown";
    insist(answer.outcome === expected, () => `[7, 8, 9] settle of ${id} answered ${answer.outcome}, not ${expected}`);
    if (row?.state === "settled") return;
    let overrun = 0;
    const keys = new Set([...(row?.amounts.keys() ?? []), ...holds.map(keyOf)]);
    for (const key of keys) {
      const ref = fromKey(key);
      const bucket = this.bucket(ref);
      const amount = row?.amounts.get(key) ?? 0;
      const truth = actual.get(ref.counter) ?? 0;
      const isCharged = row?.state === "expired" && row.onExpire === "charge";
      const over = Math.max(0, truth - (row?.state === "held" || isCharged ? amount : 0));
      if (row?.state === "held") bucket.held -= amount;
      bucket.used += truth - (isCharged ? amount : 0);
      bucket.overrun += over;
      overrun += over;
      this.#post(owner, key, truth);
    }
    insist(
      answer.overrun === overrun,
      () => `[2] settle of ${id} told an overrun of ${answer.overrun}, not ${overrun}`,
    );
    const known = { fingerprint: "", granted: 0, onExpire: "release", owner, expiresAt: 0, wasLost: true } as const;
    if (row) row.state = "settled";
    else this.rows.set(id, { ...known, state: "settled", amounts: new Map() });
  }

  released(id: string, answer: { released: boolean }): void {
    const row = this.rows.get(id);
    insist(answer.released === (row?.state === "held"), () => `[8] release of ${id} answered ${answer.released}`);
    if (row?.state !== "held") return;
    row.state = "released";
    for (const [key, amount] of row.amounts) this.bucket(fromKey(key)).held -= amount;
  }

  renewed(owner: string, { id, ttlMs, charge }: Parameters<BudgetStore["renew"]>[0], now: number): void {
    const row = this.rows.get(id);
    insist(row?.state === "held", () => `[8] ${id} was renewed, though it is ${row?.state ?? "unknown"}`);
    row.expiresAt = Math.max(row.expiresAt, now + ttlMs);
    for (const [key, amount] of row.amounts) {
      const charged = charge?.get(fromKey(key).counter) ?? 0;
      const bucket = this.bucket(fromKey(key));
      const moved = Math.min(charged, amount);
      bucket.used += charged;
      bucket.held -= moved;
      bucket.overrun += charged - moved;
      row.amounts.set(key, amount - moved);
      this.#post(owner, key, charged);
    }
  }

  telling(id: string): void {
    const row = this.rows.get(id);
    if (row) row.isTold = true;
  }

  notHeld(id: string): void {
    insist(this.rows.get(id)?.state !== "held", () => `[11] ${id} could not be renewed, though it was held`);
  }

  #post(owner: string, key: string, amount: number): void {
    const posted = `${owner}/${key}`;
    this.postedBy.set(posted, (this.postedBy.get(posted) ?? 0) + amount);
  }
}

const OUTCOME = { held: "settled", expired: "late-expired", released: "late-released", settled: "duplicate" } as const;

function fromKey(key: string): { counter: string; bucket: number } {
  const at = key.lastIndexOf("@");
  return { counter: key.slice(0, at), bucket: Number(key.slice(at + 1)) };
}

/** One request that an upstream served. */
export interface Delivery {
  readonly id: string;
  readonly owner: string;
  readonly holds: readonly Hold[];
  readonly actual: ReadonlyMap<string, number>;
  /** What was granted for it, per counter. */
  readonly held: ReadonlyMap<string, number>;
  /** The process's own store had already given its hold away when it was settled. */
  isLate: boolean;
}

/** What was really spent, as the upstreams would bill it. */
export class Truth {
  readonly deliveries = new Map<string, Delivery>();
  /** Per bucket. */
  readonly spent = new Map<string, number>();
  readonly spentBy = new Map<string, number>();

  deliver(delivery: Delivery): void {
    this.deliveries.set(delivery.id, delivery);
    for (const hold of delivery.holds) {
      const amount = delivery.actual.get(hold.counter) ?? 0;
      const key = keyOf(hold);
      this.spent.set(key, (this.spent.get(key) ?? 0) + amount);
      const by = `${delivery.owner}/${key}`;
      this.spentBy.set(by, (this.spentBy.get(by) ?? 0) + amount);
    }
  }

  /** Sum over the deliveries that a condition names. */
  sum(key: string, amountOf: (delivery: Delivery, counter: string) => number): number {
    const { counter } = fromKey(key);
    let sum = 0;
    for (const delivery of this.deliveries.values()) {
      if (delivery.holds.some((hold) => keyOf(hold) === key)) sum += amountOf(delivery, counter);
    }
    return sum;
  }
}
