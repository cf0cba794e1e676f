import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Executor, startExecutor } from "../executor.js";
import { type Effort, timeoutMs } from "../inputs.js";
import { type MountedTarget, mountedTarget, startMount } from "../mounted.js";
import { startNative } from "../native.js";
import { beginning, sequences } from "./commands.js";

const PROGRAMS = 4;

interface Program {
  readonly tested: Executor;
  readonly native: Executor;
}

async function startProgram(directory: string, reference: string): Promise<Program> {
  // Not the synchronous one: this process may serve the mount.
  await mkdir(directory);
  return { tested: startExecutor(directory), native: await startNative(reference) };
}

/**
 * Declares a test that several programs at once, each in a directory of its own of one mount, meet what
 * each of them meets alone on a native file system.
 *
 * @param reference - A directory of the native one.
 */
export function testSideBySide(
  target: MountedTarget,
  reference: string,
  { inputs = 15 }: Effort = {},
): void {
  test(
    `programs side by side on ${target.name} do not disturb each other`,
    async () => {
      await using mounted = await startMount(target);
      const programs = await Promise.all(
        Array.from({ length: PROGRAMS }, (_, index) =>
          startProgram(join(mounted.path, String(index)), reference),
        ),
      );
      const each = fc.array(sequences(mountedTarget(target)), {
        minLength: PROGRAMS,
        maxLength: PROGRAMS,
      });
      const property = fc.asyncProperty(each, async (all) => {
        const found = await Promise.all(
          programs.map(async ({ tested, native }, index) => {
            const commands = [...beginning, ...(all[index] ?? []), "tree"];
            const answers = await Promise.all([tested.run(commands), native.run(commands)]);
            return answers.map((side) => commands.map((text, at) => `${text} -> ${side[at]}`));
          }),
        );
        expect(found.map(([actual]) => actual)).toEqual(found.map(([, expected]) => expected));
      });
      try {
        await fc.assert(property, { numRuns: runs(inputs) });
      } finally {
        for (const { tested, native } of programs) {
          await tested[Symbol.asyncDispose]();
          await native[Symbol.asyncDispose]();
        }
      }
    },
    timeoutMs(),
  );
}
