import { Vm } from "../vm.js";
import { type CommandFlags, runCommand } from "./command.js";

/** `supermachine exec`: returns the exit status of a command in a machine that runs. */
export async function exec(
  machine: string,
  argv: readonly string[],
  flags: CommandFlags,
): Promise<number> {
  const vm = await Vm.connect(machine);
  try {
    return await runCommand(vm, argv, flags, { lastResort: (child) => child.kill("SIGKILL") });
  } finally {
    vm.close();
  }
}
