import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Executor, startExecutor } from "./executor.js";
import type { Feature, Target } from "./target.js";

/** How a file system under test is mounted. */
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

/** A mount, with directories of its own; disposing of it removes all. */
interface Mounted extends AsyncDisposable {
  readonly path: string;
}

export async function startMount(target: MountedTarget): Promise<Mounted> {
  const base = mkdtempSync(join(target.parent ?? tmpdir(), "fs-conformance-"));
  const host = join(base, "host");
  const path = join(base, "mounted");
  mkdirSync(host, { mode: 0o755 });
  mkdirSync(path);
  const remove = () => rmSync(base, { recursive: true, force: true });
  try {
    const mounted = await target.mount(path, host);
    return {
      path,
      async [Symbol.asyncDispose]() {
        await mounted[Symbol.asyncDispose]();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

async function startMountedExecutor(target: MountedTarget): Promise<Executor> {
  const mounted = await startMount(target);
  const executor = startExecutor(mounted.path);
  return {
    run: (commands) => executor.run(commands),
    async [Symbol.asyncDispose]() {
      await executor[Symbol.asyncDispose]();
      await mounted[Symbol.asyncDispose]();
    },
  };
}

/** A file system that this process may serve itself: nothing here waits for the mount. */
export function mountedTarget(target: MountedTarget): Target {
  return {
    name: target.name,
    lacks: target.lacks ?? [],
    start: () => startMountedExecutor(target),
  };
}
