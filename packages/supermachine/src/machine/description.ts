import { isMainThread, threadId } from "node:worker_threads";
import type { StoredImage } from "@supermachine/oci/image-store";
import type { HypervisorKind } from "./config.js";

/** What a machine was started as, for those who find it later. */
export interface VmParameters {
  /** Default: its id. */
  readonly name?: string;
  readonly image: Omit<StoredImage, "createdAt">;
  readonly hypervisor: HypervisorKind;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** The environment of every command. */
  readonly env: Readonly<Record<string, string>>;
  /** Its own command, if it has one: it ends when that does. */
  readonly command?: readonly string[];
  /** Outlives the process that started it. */
  readonly detached: boolean;
}

/** Where the calling thread runs machines. */
export function currentPlace(): Pick<VmDescription, "pid" | "threadId"> {
  const { pid } = process;
  return isMainThread ? { pid } : { pid, threadId };
}

/** What is known of a machine, as plain data. */
export interface VmDescription extends VmParameters {
  /** 12 hexadecimal digits, unique on this host. */
  readonly id: string;
  readonly name: string;
  /** The process that runs it. */
  readonly pid: number;
  /** The worker thread of that process that runs it, by Node.js's number; absent if that is its main thread. */
  readonly threadId?: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}
