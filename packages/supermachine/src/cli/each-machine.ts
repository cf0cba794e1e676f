import { LINUX_SIGNALS, type LinuxSignal } from "@supermachine/guest";
import type { VmExit } from "../machine/config.js";
import { Vm } from "../vm.js";
import { SIGNAL_BASE, STATUS_FAILURE } from "./status.js";

/**
 * Does something with machines at once, and prints the name of each when that is done, or the number that
 * `work` returns. One that fails does not keep the others from it.
 */
export async function forEachMachine(
  machines: readonly string[],
  work: (vm: Vm) => Promise<unknown>,
): Promise<void> {
  const failed = await Promise.all(
    machines.map(async (name) => {
      try {
        const vm = await Vm.connect(name);
        try {
          const result = await work(vm);
          process.stdout.write(`${typeof result === "number" ? result : name}\n`);
        } finally {
          vm.close();
        }
        return false;
      } catch (error) {
        process.stderr.write(`supermachine: ${error instanceof Error ? error.message : error}\n`);
        return true;
      }
    }),
  );
  if (failed.includes(true)) process.exitCode = STATUS_FAILURE;
}

/** The exit status of a machine's command; of one that was not seen to end, as if it had been killed. */
export function exitStatus({ command, reason }: VmExit): number {
  if (command === undefined && reason === "shutdown") return 0;
  if (command?.code != null) return command.code;
  return SIGNAL_BASE + (LINUX_SIGNALS[command?.signal as LinuxSignal] ?? LINUX_SIGNALS.SIGKILL);
}
