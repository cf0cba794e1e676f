import { mountModule } from "@supermachine/fuse-mount";
import {
  type CachePolicy,
  SharedPosixShare,
  type SymlinkPolicy,
} from "@supermachine/posix-backend";

export interface MountFlags {
  readonly readOnly: boolean;
  readonly cache: CachePolicy;
  readonly watch: boolean;
  readonly symlinks: SymlinkPolicy;
  readonly writeback: boolean;
  readonly xattr: boolean;
  readonly posixAcl: boolean;
  readonly passthrough: boolean;
  readonly ioUring: boolean;
  readonly threads: number;
  /** Default: for root. */
  readonly allowOther?: boolean;
}

/** Resolves at the first signal that asks to end. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, resolve);
  });
}

/** Shows a directory at another place until that is unmounted or a signal arrives. */
export async function mountDirectory(
  directory: string,
  mountPoint: string,
  flags: MountFlags,
): Promise<void> {
  const { readOnly, writeback, threads, passthrough, ioUring, ...options } = flags;
  const end = interrupted();
  using share = new SharedPosixShare(directory, {
    readOnly,
    writeback,
    threads,
    cache: options.cache,
    watch: options.watch,
    symlinks: options.symlinks,
    xattr: options.xattr,
    posixAcl: options.posixAcl,
  });
  await using mounted = await mountModule(share, mountPoint, {
    source: directory,
    readOnly,
    writebackCache: writeback,
    threads,
    passthrough,
    ioUring,
    // Everybody is checked by the kernel, as on any file system of the host.
    allowOther: options.allowOther ?? process.getuid?.() === 0,
    autoUnmount: true,
  });
  process.stderr.write(`${directory} mounted on ${mounted.path}\n`);
  await Promise.race([end, mounted.closed]);
}
