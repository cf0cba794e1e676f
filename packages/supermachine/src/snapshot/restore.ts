import { chooseHypervisor } from "../hypervisor/choice.js";
import { prepareMachine, type StartedMachine } from "../machine/starter.js";
import type { RestoreVmOptions } from "./restore-options.js";
import { configureRestore, openSavedMachine } from "./saved-machine.js";
import { withSnapshotErrors } from "./snapshot-error.js";

/** See `Vm.restore`. `mountsAreTrusted`: the snapshot is this user's own, and says itself what it shares. */
export async function restoreMachine(
  options: RestoreVmOptions,
  mountsAreTrusted: boolean,
): Promise<StartedMachine> {
  const { isolation = "process", detached = false, name, signal, onConsole } = options;
  const saved = await openSavedMachine(options.snapshot);
  // Threads and processes come up while the rest is looked at.
  const { name: hypervisor } = await chooseHypervisor("kvm");
  const starter = await prepareMachine({ isolation, detached }, hypervisor, saved.cpus);
  try {
    const { config, image: stored } = await configureRestore(saved, options, mountsAreTrusted);
    const { createdAt: _, ...image } = stored;
    const vm = {
      image,
      hypervisor,
      memoryMiB: saved.memoryMiB,
      cpus: saved.cpus,
      env: config.provenance.env,
      detached,
      ...(name === undefined ? {} : { name }),
    };
    return await withSnapshotErrors(() =>
      starter.start(config, vm, {
        ...(signal === undefined ? {} : { signal }),
        ...(onConsole === undefined ? {} : { onConsole }),
      }),
    );
  } catch (error) {
    starter[Symbol.dispose]();
    signal?.throwIfAborted();
    throw error;
  }
}
