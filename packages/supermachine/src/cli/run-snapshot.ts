import { SupermachineError } from "../errors.js";
import { restoreMachine } from "../snapshot/restore.js";
import { SnapshotStore } from "../snapshot/snapshot-store.js";
import { Vm } from "../vm.js";
import { runCommand } from "./command.js";
import { abortOnSignal, commandOf, type RunFlags } from "./run.js";

/** `supermachine run --snapshot`: returns the exit status. The machine has the mounts it was saved with. */
export async function runSnapshot(
  snapshotName: string,
  command: readonly string[],
  flags: RunFlags,
): Promise<number> {
  const { detach: detached, name } = flags;
  if (detached && command.length > 0) {
    throw new SupermachineError(
      "ERR_OPTION",
      "a machine that goes on from a snapshot has no command of its own: leave it out, then use supermachine exec",
    );
  }
  using interrupted = abortOnSignal();
  const onConsole = (bytes: Uint8Array) => void process.stderr.write(bytes);
  const started = await restoreMachine(
    {
      snapshot: await new SnapshotStore().find(snapshotName),
      isolation: detached ? "process" : "inline",
      detached,
      signal: interrupted.signal,
      ...(name === undefined ? {} : { name }),
      ...(flags.console ? { onConsole } : {}),
    },
    // The store is the user's own, and so is what its snapshots share.
    true,
  );
  const vm = new Vm(started);
  if (detached) {
    process.stdout.write(`${vm.name}\n`);
    vm.close();
    return 0;
  }
  try {
    return await runCommand(vm, commandOf(vm.image.config, command), flags, {
      started: () => interrupted[Symbol.dispose](),
      lastResort: () => void vm.kill(),
    });
  } finally {
    await vm.kill();
  }
}
