import { runs } from "@supermachine-internal/testing";

/** How long a random suite looks. */
export interface Effort {
  /** How many sequences it tries in an ordinary test run; under `npm run fuzz` as many as time allows. */
  readonly inputs?: number;
}

/** Under `npm run fuzz` a test takes as long as vitest is told there. */
export function timeoutMs(): number | undefined {
  return runs(1) === 1 ? 120_000 : undefined;
}
