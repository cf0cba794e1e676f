/**
 * The credentials of the calling thread. In Linux they belong to threads; glibc keeps its setuid family
 * in step between all threads, but leaves these calls alone (setfsuid(2), capset(2)) or, for setgroups(2),
 * is gone around.
 */
import { lazyFunction } from "@supermachine-internal/libc";
import { capabilityDataStruct, capabilityHeaderStruct } from "./structs.js";

const native = {
  setfsuid: lazyFunction<(uid: number) => number>("unsigned int setfsuid(unsigned int uid)"),
  setfsgid: lazyFunction<(gid: number) => number>("unsigned int setfsgid(unsigned int gid)"),
  capget: lazyFunction<(header: Uint8Array, data: Uint8Array) => number>(
    "int capget(void *hdrp, void *datap)",
  ),
  capset: lazyFunction<(header: Uint8Array, data: Uint8Array) => number>(
    "int capset(void *hdrp, const void *datap)",
  ),
  getgroups: lazyFunction<(size: number, list: Uint32Array | null) => number>(
    "int getgroups(int size, void *list)",
  ),
  setgroups: lazyFunction<(number: number, size: number, list: Uint32Array) => number>(
    "intptr_t syscall(intptr_t number, size_t size, const void *list)",
  ),
};

const NO_ID = 0xffff_ffff;
const SYS_SETGROUPS = process.arch === "arm64" ? 159 : 116;
/** `_LINUX_CAPABILITY_VERSION_3`: two data structs, 64 capabilities. */
const CAPABILITY_VERSION = 0x20080522;

export function effectiveIds(): { readonly uid: number; readonly gid: number } {
  return { uid: process.geteuid?.() ?? NO_ID, gid: process.getegid?.() ?? NO_ID };
}

/** The supplementary groups; `process.getgroups()` would add the effective one to them. */
export function getgroups(): readonly number[] {
  const list = new Uint32Array(Math.max(0, native.getgroups(0, null)));
  return Array.from(list.subarray(0, Math.max(0, native.getgroups(list.length, list))));
}

/** Whether the thread's file system uid is now `uid`: the call itself reports no failure. */
export function setfsuid(uid: number): boolean {
  native.setfsuid(uid);
  return native.setfsuid(NO_ID) === uid;
}

/** Whether the thread's file system gid is now `gid`. */
export function setfsgid(gid: number): boolean {
  native.setfsgid(gid);
  return native.setfsgid(NO_ID) === gid;
}

/** Sets the supplementary groups of this thread alone; -1 on failure. */
export function setThreadGroups(groups: readonly number[]): number {
  return native.setgroups(SYS_SETGROUPS, groups.length, Uint32Array.from(groups));
}

const header = new Uint8Array(capabilityHeaderStruct.size);
capabilityHeaderStruct.encode({ version: CAPABILITY_VERSION, pid: 0 }, header);
const initial = new Uint8Array(2 * capabilityDataStruct.size);
const changed = new Uint8Array(2 * capabilityDataStruct.size);
const changedView = new DataView(changed.buffer);
const effectiveAt = capabilityDataStruct.offsets.effective;
const permittedAt = capabilityDataStruct.offsets.permitted;

/** Notes the capabilities of this thread as the initial ones. */
export function capget(): boolean {
  return native.capget(header, initial) === 0;
}

/**
 * Makes those of `add` effective (bits of the first 32 capabilities) that the thread has effective
 * initially; or "initial" again.
 */
export function capset(add: number | "initial"): void {
  if (add === "initial") {
    native.capset(header, initial);
    return;
  }
  native.capget(header, changed);
  const had = new DataView(initial.buffer).getUint32(effectiveAt, true);
  const permitted = changedView.getUint32(permittedAt, true);
  const effective = changedView.getUint32(effectiveAt, true) | (add & had & permitted);
  changedView.setUint32(effectiveAt, effective >>> 0, true);
  native.capset(header, changed);
}
