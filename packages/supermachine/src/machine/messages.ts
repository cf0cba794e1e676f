import type { MachineExit } from "@supermachine/vmm";
import type { PlainError } from "../errors.js";
import type { HypervisorKind, MachineConfig } from "./config.js";

/** From the parent to a machine's process. */
export type ToMachineProcess =
  | { readonly type: "prepare"; readonly hypervisor: HypervisorKind; readonly cpus: number }
  | {
      readonly type: "start";
      readonly config: MachineConfig;
      /** Where to serve the machine's vsock. */
      readonly vsockPath: string;
      /** Guest connections to these host ports are forwarded. */
      readonly guestPorts: readonly number[];
    }
  | { readonly type: "stop" };

/** From a machine's process to its parent. */
export type FromMachineProcess =
  | { readonly type: "started" }
  | { readonly type: "failed"; readonly error: PlainError }
  | { readonly type: "console"; readonly bytes: Uint8Array }
  | { readonly type: "exited"; readonly exit: MachineExit };
