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

/** What is known of a machine, as plain data. */
export interface VmDescription extends VmParameters {
  /** 12 hexadecimal digits, unique on this host. */
  readonly id: string;
  readonly name: string;
  /** The process that runs it. */
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}
