import type { Command } from "commander";
import type { SnapshotCreateFlags } from "./snapshot.js";

/** Adds the commands that keep machines as they are, for others to go on from. */
export function addSnapshotCommands(program: Command): void {
  const snapshot = program.command("snapshot").description("keep machines as they are at a moment");
  snapshot
    .command("create")
    .description("save a machine that runs; run --snapshot NAME goes on from there")
    .argument("<machine>", "name or id of the machine, or the first digits of its id")
    .argument("<name>", "of the snapshot")
    .option("--base <name>", "another snapshot: only what differs from it takes room")
    .action(async (machine: string, name: string, flags: SnapshotCreateFlags) => {
      const { createSnapshot } = await import("./snapshot.js");
      await createSnapshot(machine, name, flags);
    });
  snapshot
    .command("ls")
    .description("list the snapshots")
    .option("--json", "as JSON", false)
    .action(async (flags: { json: boolean }) => {
      const { listSnapshots } = await import("./snapshot.js");
      await listSnapshots(flags);
    });
  snapshot
    .command("rm")
    .description("remove snapshots; machines that went on from them are not affected")
    .argument("<name...>")
    .action(async (names: string[]) => {
      const { removeSnapshots } = await import("./snapshot.js");
      await removeSnapshots(names);
    });
}
