/** One run: processes, callers and accidents of one seed, the rules checked after every step. */
import type { BudgetStore, Hold } from "../../src/core/budget-store.ts";
import { leased } from "../../src/stores/leased.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { Books, insist, Truth, Violation } from "./audit.ts";
import { ROLL_STEP_MS, ROLL_STEPS, SimGateway } from "./gateway.ts";
import { type Plan, planOf } from "./plan.ts";
import { type Random, random } from "./random.ts";
import { fakeRemote, type Remote } from "./remote.ts";
import { installTimers, World } from "./world.ts";

/** What is put together; the tests replace parts by wrong ones. */
export interface Setup {
  /** What a process puts in front of the shared store. */
  readonly kind: "plain" | "leased";
  /** The shared store itself; must answer at once. @default memoryStore */
  readonly engine?: (now: () => number) => BudgetStore;
  /** What a process sees of the shared store. @default as it is, or leased */
  readonly connect?: (remote: BudgetStore, process: SimGateway, world: World, plan: Plan) => BudgetStore;
  readonly plan?: Partial<Plan>;
  /** `spending`: only by what was really spent, as the provider's bill would. @default by every step of the store too */
  readonly judge?: "spending" | undefined;
}

export interface Run {
  readonly seed: number;
  readonly plan: Plan;
  readonly steps: number;
  /** Everything that reached the shared store, in order. */
  readonly history: readonly string[];
  readonly truth: Truth;
  readonly books: Books;
}

const MOST_STEPS = 40_000;
/** Longer than every life of a hold or a lease. */
const QUIET_MS = 30_000;

/** @throws Violation that names the seed and tells the last calls */
export async function simulate(seed: number, setup: Setup): Promise<Run> {
  const undo = installTimers();
  const chance = random(seed);
  const plan = { ...planOf(chance, setup.kind), ...setup.plan };
  const simulation = new Simulation(setup, plan, chance);
  try {
    await simulation.run();
    return { seed, plan, ...simulation };
  } catch (error) {
    const last = simulation.history.slice(-25).join("\n  ");
    const text = `${(error as Error).message}\nseed ${seed} (${setup.kind}), step ${simulation.steps}, ${JSON.stringify(plan)}\n  ${last}`;
    if (error instanceof Violation) throw new Violation(text, { cause: error });
    throw new Error(text, { cause: error });
  } finally {
    undo();
  }
}

class Simulation {
  readonly books = new Books();
  readonly truth = new Truth();
  readonly history: string[];
  steps = 0;
  readonly #plan: Plan;
  readonly #setup: Setup;
  readonly #random: Random;
  readonly #world: World;
  readonly #store: BudgetStore;
  readonly #remote: Remote;
  readonly #network: { dropped: number; lost: number; twice: number };
  readonly #gateways: SimGateway[] = [];
  #accidents = { crashes: 0, pauses: 0, clockSteps: 0 };
  #started = 0;

  constructor(setup: Setup, plan: Plan, chance: Random) {
    this.#plan = plan;
    this.#setup = setup;
    this.#random = chance;
    const world = new World(chance);
    this.#world = world;
    this.#network = { ...plan.network };
    const now = () => world.now;
    this.#store = setup.engine?.(now) ?? memoryStore({ now });
    this.#remote = fakeRemote(world, this.#store, this.books, this.#network);
    this.history = this.#remote.history;
  }

  async run(): Promise<void> {
    for (let i = 0; i < this.#plan.processes; i++) this.#start();
    await this.#stepWhile(() => this.#living().some(({ active }) => active > 0), true);
    // The accidents are over: what waits in outboxes and leases must find its way.
    Object.assign(this.#network, { dropped: 0, lost: 0, twice: 0 });
    for (const gateway of this.#living()) gateway.isPaused = false;
    const quiet = this.#world.now + QUIET_MS;
    await this.#stepWhile(() => this.#world.now < quiet, false);
    for (const gateway of this.#living()) gateway.close();
    await this.#stepWhile(() => this.#living().some(({ isClosed }) => !isClosed), false);
    await this.#stepWhile(() => true, false);
    this.#world.now += QUIET_MS;
    this.#checkEnd();
  }

  #living(): SimGateway[] {
    return this.#gateways.filter(({ isAlive }) => isAlive);
  }

  #start(): void {
    const onGrant = (process: SimGateway, holds: readonly Hold[]) => this.#checkCovered(process, holds);
    const gateway = new SimGateway(`p${++this.#started}`, this.#world, this.truth, this.#plan, onGrant);
    this.#gateways.push(gateway);
    gateway.start((process) => this.#connect(process));
  }

  #connect(process: SimGateway): BudgetStore {
    const remote = this.#remote.for(process);
    if (this.#setup.connect) return this.#setup.connect(remote, process, this.#world, this.#plan);
    return this.#setup.kind === "plain" ? remote : leased(remote, leaseOptions(process, this.#world, this.#plan));
  }

  async #stepWhile(isWanted: () => boolean, withAccidents: boolean): Promise<void> {
    while (isWanted()) {
      if (++this.steps > MOST_STEPS) throw new Violation("the run does not come to an end");
      if (!(await this.#world.step())) return;
      this.#check();
      if (withAccidents) this.#accident();
    }
  }

  #accident(): void {
    const { crash, pause, clockStep } = this.#plan;
    const living = this.#living();
    if (this.#random.chance(crash) && this.#accidents.crashes < 3) {
      this.#accidents.crashes++;
      this.#world.crash(this.#random.pick(living));
      this.#start();
    }
    if (this.#random.chance(pause)) {
      this.#accidents.pauses++;
      const victim = this.#random.pick(living);
      victim.isPaused = true;
    }
    const paused = living.filter(({ isPaused }) => isPaused);
    if (paused.length > 0 && (paused.length === living.length || this.#random.chance(0.02))) {
      // It wakes as after SIGSTOP, or as a virtual machine from its snapshot.
      if (this.#random.chance(0.5)) this.#world.now += this.#random.below(8_000);
      this.#random.pick(paused).isPaused = false;
    }
    if (this.#random.chance(clockStep)) {
      this.#accidents.clockSteps++;
      this.#random.pick(living).clockOffset = this.#random.pick([-3_600_000, -5_000, 0, 5_000, 3_600_000]);
    }
  }

  // ---- The rules ----

  #check(): void {
    if (this.#remote.violation && this.#setup.judge !== "spending") throw this.#remote.violation;
    for (const { failure } of this.#gateways) if (failure) throw failure;
    this.books.expire(this.#world.now);
    if (this.#setup.judge === "spending") for (const key of this.truth.spent.keys()) this.books.dirty.add(key);
    for (const key of this.books.dirty) this.#checkBucket(key);
    this.books.dirty.clear();
  }

  #checkBucket(key: string): void {
    const bucket = this.books.bucket(fromKey(key));
    const { counter, bucket: start, used, held } = bucket;
    const limit = this.#limitOf(counter);
    if (limit !== undefined) this.#checkSpent(key, counter, limit);
    if (this.#setup.judge === "spending") return;
    const [state] = this.#store.usage([{ counter, bucket: start, from: start, step: 0 }]) as {
      used: number;
      held: number;
    }[];
    const told = `${state!.used} used and ${state!.held} held`;
    insist(
      state!.used === used && state!.held === held && held >= 0,
      () => `[5, 7, 8, 9, 11] ${key}: the store says ${told}; right is ${used} and ${held}`,
    );
    if (limit === undefined) return;
    if (counter !== "rolling") {
      const over = bucket.overrun;
      insist(used + held <= limit + over, () => `[1, 2] ${key}: ${used} used and ${held} held pass ${limit} + ${over}`);
    } else this.#checkRolling(start, limit);
  }

  #limitOf(counter: string): number | undefined {
    return counter === "cap" ? this.#plan.cap : counter === "rolling" ? this.#plan.rollingCap : undefined;
  }

  #checkRolling(start: number, limit: number): void {
    const span = ROLL_STEPS * ROLL_STEP_MS;
    for (let bucket = start; bucket <= start + span; bucket += ROLL_STEP_MS) {
      const window = { counter: "rolling", from: bucket - span, bucket, step: ROLL_STEP_MS };
      const { used, held, overrun: over } = this.books.sums(window);
      insist(
        used + held <= limit + over,
        () => `[15] rolling@${bucket}: ${used} used and ${held} held pass ${limit} + ${over}`,
      );
    }
  }

  /** What was really spent, whatever the books say: [1, 2], and [23] for leases. */
  #checkSpent(key: string, counter: string, limit: number): void {
    if (counter === "rolling") return;
    const spent = this.truth.spent.get(key) ?? 0;
    const allowed = limit + this.#lostUnits(key);
    insist(spent <= allowed, () => `[1, 2, 23] ${key}: ${spent} were spent, and at most ${allowed} were allowed`);
  }

  /** [23] Whatever a process with leases admits, live leases of its own stand for it. */
  #checkCovered(process: SimGateway, holds: readonly Hold[]): void {
    const { kind, judge } = this.#setup;
    if (kind !== "leased" || judge === "spending" || this.#plan.overruns || this.#accidents.clockSteps > 0) return;
    this.books.expire(this.#world.now);
    for (const key of holds.map(keyOf)) {
      const { counter } = fromKey(key);
      if (this.#lateOf(key, process.name) > 0) continue;
      let covered = 0;
      for (const { owner, state, onExpire, isTold, amounts } of this.books.rows.values()) {
        // A lease that was lost has been charged, or is about to be.
        const stands = state === "held" || (state === "expired" && (onExpire === "charge" || isTold));
        if (owner === process.name && stands) covered += amounts.get(key) ?? 0;
      }
      const name = `${process.name}/${key}`;
      let needed = (this.truth.spentBy.get(name) ?? 0) - (this.books.postedBy.get(name) ?? 0);
      for (const { holds, held, until } of process.running.values()) {
        if (until > process.now() && holds.some((hold) => keyOf(hold) === key)) needed += held.get(counter)!;
      }
      // Thrown here, it would look like a store that is away.
      if (needed > covered) {
        const told = `[23] ${name}: ${needed} are held or unposted, but leases cover only ${covered}`;
        this.#remote.violation ??= new Violation(told);
      }
    }
  }

  /** What may have been spent beyond the cap: overruns, and where nobody could know of it. */
  #lostUnits(key: string): number {
    const { onExpire } = this.#plan;
    const beyond = this.truth.sum(key, ({ actual, held }, counter) =>
      Math.max(0, actual.get(counter)! - held.get(counter)!),
    );
    if (this.#setup.kind === "plain") {
      if (onExpire === "charge") return beyond;
      return (
        beyond +
        this.truth.sum(key, ({ id, actual }, counter) => (this.books.rows.get(id)?.wasLost ? actual.get(counter)! : 0))
      );
    }
    return (
      beyond +
      this.#lateOf(key) +
      (onExpire === "charge" ? 0 : this.#unposted(key) + this.books.bucket(fromKey(key)).overrun)
    );
  }

  /** Settled in the process after its own hold was gone. */
  #lateOf(key: string, name?: string): number {
    return this.truth.sum(key, ({ owner, actual, isLate }, counter) =>
      isLate && (name === undefined || owner === name) ? actual.get(counter)! : 0,
    );
  }

  /** Spent by processes that lost a lease, or died, and not told to the shared store. */
  #unposted(key: string): number {
    let sum = 0;
    for (const { name, isAlive } of this.#gateways) {
      const hasLost = !isAlive || [...this.books.rows.values()].some((row) => row.owner === name && row.wasLost);
      if (!hasLost) continue;
      sum += Math.max(
        0,
        (this.truth.spentBy.get(`${name}/${key}`) ?? 0) - (this.books.postedBy.get(`${name}/${key}`) ?? 0),
      );
    }
    return sum;
  }

  /** After everything has ended: [3] the truth to the unit, [5] nothing held. */
  #checkEnd(): void {
    for (const key of this.books.buckets.keys()) this.books.dirty.add(key);
    this.#check();
    const { dropped, lost } = this.#plan.network;
    const { crashes, clockSteps } = this.#accidents;
    const isExact = dropped === 0 && lost === 0 && crashes === 0 && clockSteps === 0;
    for (const [key, bucket] of this.books.buckets) {
      insist(bucket.held === 0, () => `[3] ${key}: ${bucket.held} are held for ever`);
      const spent = this.truth.spent.get(key) ?? 0;
      if (this.#setup.kind === "plain") this.#checkPlainEnd(key, bucket.used);
      else if (isExact)
        insist(bucket.used === spent, () => `[3, 23] ${key}: ${bucket.used} are used, but ${spent} were spent`);
      else if (this.#plan.onExpire === "charge" || crashes === 0) {
        const known = spent - this.#diedUncovered(key);
        insist(bucket.used >= known, () => `[3, 23] ${key}: only ${bucket.used} are used, but ${known} were spent`);
      }
    }
  }

  /** Spent beyond every slice by processes that died: nothing in the shared store stood for it. */
  #diedUncovered(key: string): number {
    const dead = new Set(this.#gateways.filter(({ isAlive }) => !isAlive).map(({ name }) => name));
    return this.truth.sum(key, ({ owner, actual, held, isLate }, counter) => {
      if (!dead.has(owner)) return 0;
      return isLate ? actual.get(counter)! : Math.max(0, actual.get(counter)! - held.get(counter)!);
    });
  }

  /** Used is what was settled, and, where lost holds are charged, what was held by those who never came back. */
  #checkPlainEnd(key: string, used: number): void {
    let right = 0;
    for (const [id, row] of this.books.rows) {
      const delivery = this.truth.deliveries.get(id);
      const gateway = this.#gateways.find(({ name }) => name === row.owner)!;
      const amount = delivery?.holds.some((hold) => keyOf(hold) === key)
        ? delivery.actual.get(fromKey(key).counter)!
        : 0;
      if (row.state === "settled") right += amount;
      else if (row.state === "expired" && row.onExpire === "charge") right += row.amounts.get(key) ?? 0;
      else insist(amount === 0 || !gateway.isAlive, () => `[3] ${id}: ${amount} were spent and never settled`);
    }
    insist(used === right, () => `[3] ${key}: ${used} are used; right is ${right}`);
  }
}

export function leaseOptions(process: SimGateway, world: World, { processes, onExpire }: Plan) {
  const monotonicNow = () => world.now;
  return { processes, onExpire, ttlMs: 2_000, postEveryMs: 200, now: process.now, monotonicNow };
}

const keyOf = ({ counter, bucket }: { counter: string; bucket: number }) => `${counter}@${bucket}`;

function fromKey(key: string): { counter: string; bucket: number } {
  const at = key.lastIndexOf("@");
  return { counter: key.slice(0, at), bucket: Number(key.slice(at + 1)) };
}
