import type { Command } from "commander";
import { wholeNumber } from "./whole-number.js";

const MACHINE = "name or id of the machine, or the first digits of its id";

/** Adds the commands that look after machines that run. */
export function addMachineCommands(program: Command): void {
  program
    .command("ps")
    .description("list the machines that run")
    .option("-q, --quiet", "only their ids", false)
    .option("--json", "as JSON", false)
    .action(async (flags: { quiet: boolean; json: boolean }) => {
      const { listMachines } = await import("./ps.js");
      await listMachines(flags);
    });
  program
    .command("inspect")
    .description("show what is known of machines that run, as JSON")
    .argument("<machine...>", MACHINE)
    .action(async (machines: string[]) => {
      const { inspectMachines } = await import("./ps.js");
      await inspectMachines(machines);
    });
  program
    .command("logs")
    .description("show what a machine's command printed, or its console if it has no command")
    .argument("<machine>", MACHINE)
    .option("-f, --follow", "go on until the machine ends", false)
    .option("-n, --tail <lines>", "only the last lines", wholeNumber(0))
    .option("--console", "the guest's console", false)
    .option("-t, --timestamps", "begin each line with its time", false)
    .action(async (machine: string, flags) => {
      const { showLogs } = await import("./logs.js");
      await showLogs(machine, flags);
    });
  program
    .command("stop")
    .description("shut machines down")
    .argument("<machine...>", MACHINE)
    .option("-t, --time <s>", "how long the guest's processes have to end", wholeNumber(0, 3600), 2)
    .action(async (machines: string[], { time }: { time: number }) => {
      const { forEachMachine } = await import("./each-machine.js");
      await forEachMachine(machines, (vm) => vm.stop({ timeoutMs: time * 1000 }));
    });
  program
    .command("kill")
    .description("end machines at once, without asking their guests")
    .argument("<machine...>", MACHINE)
    .action(async (machines: string[]) => {
      const { forEachMachine } = await import("./each-machine.js");
      await forEachMachine(machines, (vm) => vm.kill());
    });
  program
    .command("pause")
    .description("make the processors of machines stand still")
    .argument("<machine...>", MACHINE)
    .action(async (machines: string[]) => {
      const { forEachMachine } = await import("./each-machine.js");
      await forEachMachine(machines, (vm) => vm.pause());
    });
  program
    .command("unpause")
    .description("let paused machines run on")
    .argument("<machine...>", MACHINE)
    .action(async (machines: string[]) => {
      const { forEachMachine } = await import("./each-machine.js");
      await forEachMachine(machines, (vm) => vm.resume());
    });
  program
    .command("metrics")
    .description("show what machines use and do, as text for Prometheus; default: all that run")
    .argument("[machine...]", MACHINE)
    .action(async (machines: string[]) => {
      const { printMetrics } = await import("./metrics.js");
      await printMetrics(machines);
    });
  program
    .command("wait")
    .description("wait until machines end, and print the exit status of their commands")
    .argument("<machine...>", MACHINE)
    .action(async (machines: string[]) => {
      const { forEachMachine, exitStatus } = await import("./each-machine.js");
      await forEachMachine(machines, async (vm) => exitStatus(await vm.exited));
    });
}
