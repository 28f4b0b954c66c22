import { GatewayError } from "../../core/errors.ts";
import type { FitTarget } from "./index.ts";

/** Nothing like what was asked for can be had of this target; another one may do it. */
export function unsupported(message: (target: string) => string, param: string, target: FitTarget): GatewayError {
  const { provider, model } = target;
  return new GatewayError("unsupported", message(model === undefined ? provider : `${provider}/${model}`), {
    param,
    ladder: "next",
  });
}
