import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import {
  addMountAttributes,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUTS,
  changeDirectory,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  MS_SLAVE,
  mount,
  pivotRoot,
  unmount,
  unshare,
} from "./system-calls.js";

/** Where the shared directory is in the new root. */
export const SHARE = "/share";

/**
 * Gives this thread, and the processes it starts, namespaces of their own: mounts, processes, network, IPC,
 * host name. What the host mounts later still appears below the shared directory.
 */
export function enterNamespaces(): void {
  unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
  mount("none", "/", null, MS_REC | MS_SLAVE);
}

/**
 * Replaces the root directory of this mount namespace, for the process `pid` as for this thread: all
 * they can reach from then on is {@link SHARE} and what /proc says of `pid`.
 *
 * @param directory - An empty one, to put the new root on; not needed any more afterwards.
 */
export function replaceRoot(
  directory: string,
  sharedDir: string,
  pid: number,
  readOnly: boolean,
): void {
  const share = join(directory, SHARE);
  const self = join(directory, "proc", "self");
  const old = join(directory, "old");
  mount("none", directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=755");
  for (const path of [share, self, old]) mkdirSync(path, { recursive: true });
  mount(sharedDir, share, null, MS_BIND | MS_REC);
  const harmless = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  addMountAttributes(share, readOnly ? harmless | MOUNT_ATTR_RDONLY : harmless);
  // Of its own process only: from a whole /proc there would be ways to others.
  mount(`/proc/${pid}`, self, null, MS_BIND);
  pivotRoot(directory, old);
  changeDirectory("/");
  unmount("/old");
  rmdirSync("/old");
  // Not recursively: that would reach the share.
  mount("none", "/", null, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
}
