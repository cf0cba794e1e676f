import { check, lastErrno, lazyFunction, SystemCallError } from "@supermachine-internal/libc";
import { defineStruct } from "@supermachine-internal/struct";
import { systemCallNumber } from "./system-call-numbers.js";

/*
 * What isolates a process on Linux. Namespaces, capabilities and no_new_privs belong to the calling thread
 * and to what it starts, not to the process.
 */

// <linux/sched.h>
export const CLONE_NEWNS = 0x0002_0000;
export const CLONE_NEWUTS = 0x0400_0000;
export const CLONE_NEWIPC = 0x0800_0000;
export const CLONE_NEWPID = 0x2000_0000;
export const CLONE_NEWNET = 0x4000_0000;
// <linux/mount.h>
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 0x20;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_SLAVE = 0x8_0000;
export const MNT_DETACH = 2;
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;
// <linux/prctl.h>
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
// <linux/seccomp.h>
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;

const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const RLIMIT_NOFILE = 7;
/** `_LINUX_CAPABILITY_VERSION_3` */
const CAPABILITY_VERSION = 0x2008_0522;

const rlimit = defineStruct("rlimit", 16, { rlim_cur: "u64", rlim_max: "u64" });
const mountAttr = defineStruct("mount_attr", 32, {
  attr_set: "u64",
  attr_clr: "u64",
  propagation: "u64",
  userns_fd: "u64",
});
const capabilityHeader = defineStruct("__user_cap_header_struct", 8, {
  version: "u32",
  pid: "u32",
});
const capabilityData = defineStruct("__user_cap_data_struct", 12, {
  effective: "u32",
  permitted: "u32",
  inheritable: "u32",
});
/** `struct sock_fprog` of <linux/filter.h>, whose pointer is aligned to eight bytes. */
const sockFprog = defineStruct("sock_fprog", 16, { len: "u64", filter: "u64" });

/** For a test that compares them with the headers. */
export const sandboxStructs = { rlimit, mountAttr, capabilityHeader, capabilityData, sockFprog };

// <linux/fcntl.h>
const F_DUPFD_CLOEXEC = 1030;

const native = {
  fcntl: lazyFunction<(fd: number, command: number, type: "int", argument: number) => number>(
    "int fcntl(int fd, int cmd, ...)",
  ),
  unshare: lazyFunction<(flags: number) => number>("int unshare(int flags)"),
  mount: lazyFunction<
    (
      source: string,
      target: string,
      type: string | null,
      flags: number,
      data: string | null,
    ) => number
  >(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ),
  umount2: lazyFunction<(target: string, flags: number) => number>(
    "int umount2(const char *target, int flags)",
  ),
  chroot: lazyFunction<(path: string) => number>("int chroot(const char *path)"),
  chdir: lazyFunction<(path: string) => number>("int chdir(const char *path)"),
  prctl: lazyFunction<
    (option: number, argument: number, third: number, fourth: number, fifth: number) => number
  >(
    "int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5)",
  ),
  prlimit: lazyFunction<
    (pid: number, resource: number, limit: Uint8Array | null, old: Uint8Array | null) => number
  >("int prlimit(int pid, int resource, const void *new_limit, void *old_limit)"),
  capget: lazyFunction<(header: Uint8Array, data: Uint8Array) => number>(
    "int capget(void *hdrp, void *datap)",
  ),
  capset: lazyFunction<(header: Uint8Array, data: Uint8Array) => number>(
    "int capset(void *hdrp, const void *datap)",
  ),
  pivotRoot: lazyFunction<(number: number, root: string, old: string) => number>(
    "intptr_t syscall(intptr_t number, const char *new_root, const char *put_old)",
  ),
  mountSetattr: lazyFunction<
    (
      number: number,
      fd: number,
      path: string,
      flags: number,
      attributes: Uint8Array,
      size: number,
    ) => number
  >(
    "intptr_t syscall(intptr_t number, intptr_t fd, const char *path, intptr_t flags, const void *attr, size_t size)",
  ),
  seccomp: lazyFunction<
    (number: number, operation: number, flags: number, program: Uint8Array) => number
  >("intptr_t syscall(intptr_t number, intptr_t operation, intptr_t flags, const void *args)"),
};

/** Gives this thread, and the processes it starts, namespaces of their own. */
export function unshare(flags: number): void {
  check(native.unshare(flags), "unshare");
}

export function mount(
  source: string,
  target: string,
  type: string | null,
  flags: number,
  data: string | null = null,
): void {
  check(native.mount(source, target, type, flags, data), "mount", `${source} on ${target}`);
}

export function unmount(target: string): void {
  check(native.umount2(target, MNT_DETACH), "umount2", target);
}

/** Adds `attributes` (`MOUNT_ATTR_...`) to a mount and all below. False where Linux is older than 5.12. */
export function addMountAttributes(path: string, attributes: number): boolean {
  const bytes = new Uint8Array(mountAttr.size);
  const set = { attr_set: BigInt(attributes), attr_clr: 0n, propagation: 0n, userns_fd: 0n };
  mountAttr.encode(set, bytes);
  const number = systemCallNumber("mount_setattr");
  const result = native.mountSetattr(number, AT_FDCWD, path, AT_RECURSIVE, bytes, bytes.length);
  if (result === 0) return true;
  const error = new SystemCallError("mount_setattr", lastErrno(), path);
  if (error.code === "ENOSYS") return false;
  throw error;
}

/**
 * Makes `root` the root of this mount namespace and moves the former one to `putOld`, for every thread of
 * every process in the namespace whose root that was.
 */
export function pivotRoot(root: string, putOld: string): void {
  check(native.pivotRoot(systemCallNumber("pivot_root"), root, putOld), "pivot_root", root);
}

/** Changes the root of all threads that share this one's file system attributes: those of the process. */
export function chroot(path: string): void {
  check(native.chroot(path), "chroot", path);
}

/** As `process.chdir`, which worker threads lack. */
export function changeDirectory(path: string): void {
  check(native.chdir(path), "chdir", path);
}

/** Nothing that this thread executes from now on gains privileges, by set-user-id bits for example. */
export function setNoNewPrivileges(): void {
  check(native.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl", "PR_SET_NO_NEW_PRIVS");
}

/** No program that this thread executes from now on gets the capability. False if there is none such. */
export function dropFromBoundingSet(capability: number): boolean {
  if (native.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) === 0) return true;
  const error = new SystemCallError("prctl", lastErrno(), `PR_CAPBSET_DROP ${capability}`);
  if (error.code === "EINVAL") return false;
  throw error;
}

/** The capability sets of this thread, as masks of 64 bits. */
export interface CapabilitySets {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
}

function capabilityHeaderBytes(): Uint8Array {
  const bytes = new Uint8Array(capabilityHeader.size);
  capabilityHeader.encode({ version: CAPABILITY_VERSION, pid: 0 }, bytes);
  return bytes;
}

export function capabilities(): CapabilitySets {
  const data = Buffer.alloc(2 * capabilityData.size);
  check(native.capget(capabilityHeaderBytes(), data), "capget");
  const low = capabilityData.decode(data);
  const high = capabilityData.decode(data, capabilityData.size);
  const join = (upper: number, lower: number) => (BigInt(upper) << 32n) | BigInt(lower);
  return {
    effective: join(high.effective, low.effective),
    permitted: join(high.permitted, low.permitted),
    inheritable: join(high.inheritable, low.inheritable),
  };
}

export function setCapabilities({ effective, permitted, inheritable }: CapabilitySets): void {
  const data = Buffer.alloc(2 * capabilityData.size);
  for (const [i, shift] of [0n, 32n].entries()) {
    const half = (set: bigint) => Number((set >> shift) & 0xffff_ffffn);
    const sets = {
      effective: half(effective),
      permitted: half(permitted),
      inheritable: half(inheritable),
    };
    capabilityData.encode(sets, data, i * capabilityData.size);
  }
  check(native.capset(capabilityHeaderBytes(), data), "capset");
}

/** The limit of open files of a process; `pid` 0 is this one. */
export function fileLimit(pid: number): { readonly soft: number; readonly hard: number } {
  const bytes = Buffer.alloc(rlimit.size);
  check(native.prlimit(pid, RLIMIT_NOFILE, null, bytes), "prlimit");
  const { rlim_cur, rlim_max } = rlimit.decode(bytes);
  return { soft: Number(rlim_cur), hard: Number(rlim_max) };
}

export function setFileLimit(pid: number, soft: number, hard: number): void {
  const bytes = Buffer.alloc(rlimit.size);
  rlimit.encode({ rlim_cur: BigInt(soft), rlim_max: BigInt(hard) }, bytes);
  check(native.prlimit(pid, RLIMIT_NOFILE, bytes, null), "prlimit", `${soft}`);
}

/** A descriptor of `lowest` or above for what `fd` stands for; undefined when there is none free. */
export function duplicateFrom(fd: number, lowest: number): number | undefined {
  const duplicate = native.fcntl(fd, F_DUPFD_CLOEXEC, "int", lowest);
  return duplicate < 0 ? undefined : duplicate;
}

/** Puts a filter of `instructions` (`struct sock_filter`) before the system calls of all threads. */
export function installSystemCallFilter(instructions: Uint8Array, address: bigint): void {
  const program = Buffer.alloc(sockFprog.size);
  sockFprog.encode({ len: BigInt(instructions.length / 8), filter: address }, program);
  const number = systemCallNumber("seccomp");
  const result = native.seccomp(
    number,
    SECCOMP_SET_MODE_FILTER,
    SECCOMP_FILTER_FLAG_TSYNC,
    program,
  );
  if (result > 0) {
    throw new SystemCallError("seccomp", 0, `thread ${result} cannot be filtered`);
  }
  check(result, "seccomp");
}
