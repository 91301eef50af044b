// Requests that were refused, or that shadow mode let through, by reason.
import type { Schemas } from "./api";

export type Denied = Schemas["Denied"];
export type Reasons = Denied["reasons"];

/** With so many more of each reason. */
export function more(denied: Denied, told: Reasons = {}): Denied {
  const reasons = { ...denied.reasons };
  let total = denied.total;
  for (const [reason, count] of Object.entries(told)) {
    reasons[reason] = (reasons[reason] ?? 0) + count;
    total += count;
  }
  return { total, reasons };
}
