import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Effort, timeoutMs } from "../inputs.js";
import type { Target } from "../target.js";
import { beginning, sequences } from "./commands.js";

/** For a target known to differ in rare sequences: the same ones each time, except under `npm run fuzz`. */
export interface Seed {
  readonly seed?: number;
}

/**
 * Declares a test that random commands do the same on a file system as on a native one, answer for
 * answer, down to the tree that is left.
 */
export function testDifferential(
  target: Target,
  reference: Target,
  { inputs = 60, seed }: Effort & Seed = {},
): void {
  test(
    `what happens on ${target.name} is what happens on ${reference.name}`,
    async () => {
      await using native = await reference.start();
      await using tested = await target.start();
      const property = fc.asyncProperty(sequences(target), async (sequence) => {
        const commands = [...beginning, ...sequence, "tree"];
        const [expected, actual] = await Promise.all([native.run(commands), tested.run(commands)]);
        const show = (answers: string[]) =>
          commands.map((command, at) => `${command} -> ${answers[at]}`);
        expect(show(actual)).toEqual(show(expected));
      });
      const numRuns = runs(inputs);
      const isFuzzing = numRuns === Number.MAX_SAFE_INTEGER;
      await fc.assert(property, seed === undefined || isFuzzing ? { numRuns } : { numRuns, seed });
    },
    timeoutMs(),
  );
}
