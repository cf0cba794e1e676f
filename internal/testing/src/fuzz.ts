/** For how long `npm run fuzz` runs each property, in ms; undefined in an ordinary test run. */
export function fuzzMs(): number | undefined {
  const seconds = Number(process.env["SUPERMACHINE_FUZZ_SECONDS"] ?? "0");
  return seconds > 0 ? seconds * 1000 : undefined;
}

/**
 * How many inputs a property is to try: `count` in an ordinary test run, as many as the time allows
 * under `npm run fuzz`. Properties that give fast-check no number of runs need nothing.
 */
export function runs(count: number): number {
  return fuzzMs() === undefined ? count : Number.MAX_SAFE_INTEGER;
}
