/**
 * How the proof's requests say what they will really cost: the upstream bills the `real` numbers, the budget's estimate
 * sees only the bounds. So no request costs more than was reserved for it, which is the premise of an exact cap.
 */
export interface Sizes {
  /** Unique in a run. */
  readonly id: string;
  /** Most input tokens the request can have: what is reserved. */
  readonly inputBound: number;
  readonly realInput: number;
  readonly maxTokens: number;
  /** Output before any `max_tokens`. */
  readonly realOutput: number;
}

export const toText = ({ id, inputBound, realInput, maxTokens, realOutput }: Sizes) =>
  `proof ${id} in ${realInput}/${inputBound} out ${realOutput}/${maxTokens}.`;

/** Finds the sizes in the bytes of a request, in whichever dialect. */
export function fromText(text: string): Sizes {
  const found = /proof (\S+) in (\d+)\/(\d+) out (\d+)\/(\d+)\./.exec(text);
  if (!found) throw new Error(`no sizes in ${text.slice(0, 200)}`);
  const [realInput, inputBound, realOutput, maxTokens] = found.slice(2).map(Number) as [number, number, number, number];
  return { id: found[1]!, inputBound, realInput, maxTokens, realOutput };
}
