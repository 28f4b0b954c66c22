import type {
  BudgetStore,
  CounterRef,
  CounterState,
  ReserveRequest,
  ReserveResult,
  SettleOutcome,
  SettleRequest,
  Units,
} from "../core/budget-store.ts";

/** A budget store that answers at once, without a round through the event loop. */
export interface SyncBudgetStore extends BudgetStore {
  reserve(request: ReserveRequest): ReserveResult;
  settle(request: SettleRequest): { outcome: SettleOutcome; overrun: Units };
  release(id: string): { released: boolean };
  renew(request: { id: string; ttlMs: number; charge?: ReadonlyMap<string, Units> }): void;
  usage(refs: readonly CounterRef[]): CounterState[];
  close(): void;
}
