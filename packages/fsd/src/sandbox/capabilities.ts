import { FsdError } from "../error.js";
import {
  type CapabilitySets,
  capabilities,
  dropFromBoundingSet,
  setCapabilities,
} from "./system-calls.js";

/** Names of <linux/capability.h>, in the order of their numbers. */
const NAMES = [
  ...["chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid"],
  ...["setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw"],
  ...["ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct"],
  ...["sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod"],
  ...["lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog"],
  ...["wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore"],
];

/**
 * What a server of files needs as root: to make and change files of any owner. `dac_read_search` is for
 * file handles.
 */
const NEEDED = [
  ...["chown", "dac_override", "dac_read_search", "fowner", "fsetid"],
  ...["setgid", "setuid", "mknod", "setfcap"],
];

export function capabilityNumber(name: string): number {
  const number = NAMES.indexOf(name.toLowerCase().replace(/^cap_/, ""));
  if (number === -1) throw new FsdError("ERR_FSD_OPTION", `there is no capability ${name}`);
  return number;
}

/**
 * The numbers of the capabilities to keep, changed as virtiofsd's `--modcaps` says: `+sys_admin:-chown`.
 * Throws {@link FsdError} `ERR_FSD_OPTION`.
 */
export function keptCapabilities(changes = ""): ReadonlySet<number> {
  const kept = new Set(NEEDED.map(capabilityNumber));
  for (const change of changes.split(":")) {
    if (change === "") continue;
    const number = capabilityNumber(change.slice(1));
    if (change.startsWith("+")) kept.add(number);
    else if (change.startsWith("-")) kept.delete(number);
    else {
      throw new FsdError(
        "ERR_FSD_OPTION",
        `capabilities ${JSON.stringify(changes)}: put + or - before ${change}`,
      );
    }
  }
  return kept;
}

/** Programs that this thread starts as root get no capabilities but `kept`. */
export function boundCapabilities(kept: ReadonlySet<number>): void {
  for (let number = 0; number < 64; number++) {
    if (!kept.has(number) && !dropFromBoundingSet(number)) break;
  }
  const mask = maskOf(kept);
  const now = capabilities();
  setCapabilities({ ...now, inheritable: now.inheritable & mask });
}

/** Gives up what this thread has beyond `kept`. Other threads of the process keep theirs. */
export function limitCapabilities(kept: ReadonlySet<number>): void {
  const mask = maskOf(kept);
  const { effective, permitted, inheritable }: CapabilitySets = capabilities();
  setCapabilities({
    effective: effective & mask,
    permitted: permitted & mask,
    inheritable: inheritable & mask,
  });
}

function maskOf(numbers: ReadonlySet<number>): bigint {
  let mask = 0n;
  for (const number of numbers) mask |= 1n << BigInt(number);
  return mask;
}
