import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Executor, startExecutor } from "./executor.js";
import type { Feature, Target } from "./target.js";

/** What a mounted file system is made of. */
export interface MountedTarget {
  /** For names of tests. */
  readonly name: string;
  readonly lacks?: readonly Feature[];
  /** Where a backend keeps its files; default the system's temporary directory. */
  readonly parent?: string;
  /**
   * Mounts the file system on `mountPoint`; disposing of the result unmounts it.
   *
   * @param host - An empty directory, for a backend that keeps its files in one.
   */
  mount(mountPoint: string, host: string): Promise<AsyncDisposable>;
}

async function startMounted(target: MountedTarget): Promise<Executor> {
  const base = mkdtempSync(join(target.parent ?? tmpdir(), "fs-conformance-"));
  const host = join(base, "host");
  const mountPoint = join(base, "mounted");
  mkdirSync(host, { mode: 0o755 });
  mkdirSync(mountPoint);
  const remove = () => rmSync(base, { recursive: true, force: true });
  try {
    const mounted = await target.mount(mountPoint, host);
    const executor = startExecutor(mountPoint);
    return {
      run: (commands) => executor.run(commands),
      async [Symbol.asyncDispose]() {
        await executor[Symbol.asyncDispose]();
        await mounted[Symbol.asyncDispose]();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** A file system that this process may serve itself: nothing here waits for the mount. */
export function mountedTarget(target: MountedTarget): Target {
  return { name: target.name, lacks: target.lacks ?? [], start: () => startMounted(target) };
}
