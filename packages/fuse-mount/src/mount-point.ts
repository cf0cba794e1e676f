import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FuseMountError } from "./error.js";
import { mountedAt } from "./mount-table.js";

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/**
 * The absolute path of a mount point. A mount of type `type` whose server has died is in the way: it is
 * taken away first, with `detach`. Asynchronous, because this very thread may serve the path.
 */
export async function resolveMountPoint(
  path: string,
  type: string,
  detach: (target: string) => Promise<void>,
): Promise<string> {
  try {
    await clearStale(path, type, detach);
    const target = await realpath(path);
    if (!(await stat(target)).isDirectory()) throw new Error("not a directory");
    return target;
  } catch (cause) {
    if (cause instanceof FuseMountError) throw cause;
    const message = `${path} is no mount point: it must be an existing directory`;
    throw new FuseMountError("ERR_FUSE_MOUNT_POINT", message, { cause });
  }
}

/** Several dead mounts may lie on one another. */
async function clearStale(
  path: string,
  type: string,
  detach: (target: string) => Promise<void>,
): Promise<void> {
  for (let depth = 0; depth < 64; depth++) {
    try {
      await stat(path);
      return;
    } catch (cause) {
      // "Transport endpoint is not connected": the device of the mount is closed.
      if (codeOf(cause) !== "ENOTCONN") throw cause;
      const target = await pathOfDeadMount(path);
      const found = mountedAt(target)?.type;
      if (found !== type) {
        const message = `a dead mount (${found ?? "of unknown type"}) is in the way at ${target}: unmount it first`;
        throw new FuseMountError("ERR_FUSE_MOUNT_STALE", message, { cause });
      }
      await detach(target);
    }
  }
}

/** The mount point itself cannot be looked at. A symbolic link to it can be. */
async function pathOfDeadMount(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return join(await realpath(dirname(path)), basename(path));
  }
}
