import fc from "fast-check";
import { expect, test } from "vitest";
import { fit as fitTo } from "../../src/capabilities/fit/index.ts";
import { GatewayError } from "../../src/core/errors.ts";
import type { ChatRequest } from "../../src/core/request.ts";
import { asCaller, CALLERS, wire } from "./callers.ts";
import { forAll, TIMEOUT, tally } from "./cases.ts";
import { conversation } from "./conversations.ts";
import { boundOf, lostInSilence, saidIn } from "./lost.ts";
import { TARGETS, type Target } from "./targets.ts";

/**
 * Whatever a caller says in its dialect, what goes out is something that the provider takes, and whatever of it does
 * not go out is told.
 */

const BY_DIALECT = Object.groupBy(TARGETS, ({ dialect }) => dialect.id) as Record<string, Target[]>;

const count = tally("Requests by caller and target");

for (const caller of CALLERS) {
  test(`what ${caller.id} says is accepted by every target, and nothing of it is lost in silence`, {
    timeout: TIMEOUT,
  }, () => {
    forAll(fc.tuple(conversation, fc.nat(4095)), ([said, which]) => {
      const body = asCaller(caller, said);
      const marked = saidIn(body);
      const asked = frozen(caller.decodeRequest(body, { model: "asked" }));
      for (const targets of Object.values(BY_DIALECT)) {
        const target = targets[which % targets.length]!;
        const model = target.models[(which >> 4) % target.models.length]!;
        // What a budget grants is enough for every API's own minimum.
        const granted = which % 3 === 0 ? 16 + which : undefined;
        const sent = send(asked, target, model, granted);
        count(`${caller.id} -> ${target.dialect.id}${sent ? "" : ", refused aloud"}`);
        if (!sent) continue;
        const about = () => `${target.name} ${model}: ${JSON.stringify({ caller: body, ...sent })}`;
        const refusal = target.refusal(sent.body, model);
        if (refusal) expect.fail(`${JSON.stringify(refusal)} by ${about()}`);
        if (granted !== undefined) expect(boundOf(sent.body)).toBeLessThanOrEqual(granted);
        const lost = lostInSilence(marked, sent.body, sent.changes);
        if (lost.length > 0) expect.fail(`lost: ${lost} on the way to ${about()}`);
        if (which % 8 === 0 && JSON.stringify(send(asked, target, model, granted)) !== JSON.stringify(sent))
          expect.fail(`not the same a second time: ${about()}`);
      }
    });
  });
}

/** The body that goes out; `undefined` where the caller is told that it cannot be had. */
function send(asked: ChatRequest, { provider, dialect }: Target, model: string, grantedTokens: number | undefined) {
  try {
    const { request, changes } = fitTo(asked, {
      capabilities: provider.capabilities(model, dialect.id),
      dialect: dialect.id,
      provider: provider.type,
      model,
      grantedTokens,
    });
    return { body: wire(dialect.encodeRequest(frozen(request), model)), changes };
  } catch (error) {
    if (error instanceof GatewayError && error.code === "unsupported") return undefined;
    throw error;
  }
}

/** A change to it throws. */
function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(Object.freeze(value))) frozen(inner);
  return value;
}
