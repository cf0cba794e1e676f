import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Executor, startExecutor } from "./executor.js";
import type { Feature, Target } from "./target.js";

/** An executor in a new directory below `parent`, on that file system itself. */
export async function startNative(parent: string): Promise<Executor> {
  const directory = mkdtempSync(join(parent, "fs-conformance-"));
  const executor = startExecutor(directory);
  return {
    run: (commands) => executor.run(commands),
    async [Symbol.asyncDispose]() {
      await executor[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The file system of `parent` itself, against which everything else is measured. */
export function nativeTarget(name: string, parent: string, lacks: readonly Feature[] = []): Target {
  return { name, lacks, start: () => startNative(parent) };
}
