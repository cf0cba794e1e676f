import { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
import { checkCpus, configureMachine, machineEnvironment } from "./configure.js";
import { SupermachineError } from "./errors.js";
import { chooseHypervisor } from "./hypervisor/choice.js";
import type { HypervisorKind, MachineConfig } from "./machine/config.js";
import { type MachineStarter, prepareMachine, type StartedMachine } from "./machine/starter.js";
import { checkVmName } from "./registry.js";
import { isSnapshotError, withSnapshotErrors } from "./snapshot/snapshot-error.js";
import { traced } from "./tracing.js";
import type { VmOptions } from "./vm-options.js";
import { WarmSnapshots } from "./warm/warm-snapshots.js";

/** Warm starts of which this process has compared the memory with its checksums. */
const verified = new Set<string>();

/** Where a machine runs and what it is called, as options say. */
type PlacementOptions = Pick<VmOptions, "isolation" | "detached" | "name">;

/** @throws {@link SupermachineError} ERR_OPTION. */
export function checkPlacement({ isolation, detached = false, name }: PlacementOptions): void {
  if (name !== undefined) checkVmName(name);
  if (detached && isolation !== undefined && isolation !== "process") {
    throw new SupermachineError("ERR_OPTION", "a detached machine has a process of its own");
  }
}

/** See `Vm.start`. */
export async function startMachine(options: VmOptions): Promise<StartedMachine> {
  options.signal?.throwIfAborted();
  const { cpus = 1 } = options;
  checkCpus(cpus);
  checkPlacement(options);
  const { name: hypervisor, notice } = await chooseHypervisor(options.hypervisor ?? "auto");
  if (notice !== undefined) options.onNotice?.(notice);
  return startPrepared(options, hypervisor, await prepare(options, hypervisor));
}

/** {@link startMachine} on a machine that was prepared for `hypervisor` and the options' CPUs. */
export function startPrepared(
  options: VmOptions,
  hypervisor: HypervisorKind,
  starter: MachineStarter,
): Promise<StartedMachine> {
  const attributes = {
    "supermachine.image": options.image,
    "supermachine.hypervisor": hypervisor,
  };
  return traced("supermachine.start", attributes, () => startOn(options, hypervisor, starter));
}

async function startOn(
  options: VmOptions,
  hypervisor: HypervisorKind,
  starter: MachineStarter,
): Promise<StartedMachine> {
  const { signal, store = new ImageStore() } = options;
  try {
    const image = await store.get(options.image);
    const config = await configureMachine(options, image, hypervisor);
    const begin = (from: MachineStarter, restore?: MachineConfig["restore"]) =>
      from.start(
        restore === undefined ? config : { ...config, restore },
        parametersOf(options, image, config, hypervisor),
        listenersOf(options),
      );
    const warm = new WarmSnapshots(store);
    const { warm: tag = true } = options;
    const directory =
      tag === false || hypervisor === "qemu"
        ? undefined
        : warm.find({ digest: image.digest, config, tag: tag === true ? undefined : tag });
    if (directory === undefined) return await begin(starter);
    try {
      const restore = { directory, verifyMemory: !verified.has(directory) };
      const started = await withSnapshotErrors(() => begin(starter, restore));
      verified.add(directory);
      return started;
    } catch (error) {
      if (!isSnapshotError(error)) throw error;
      options.onNotice?.(`starting cold, and forgetting a warm start: ${error.message}`);
      verified.delete(directory);
      await warm.remove(directory);
      return await begin(await prepare(options, hypervisor));
    }
  } catch (error) {
    starter[Symbol.dispose]();
    signal?.throwIfAborted();
    throw error;
  }
}

function prepare(
  { isolation = "process", detached = false, cpus = 1 }: VmOptions,
  hypervisor: HypervisorKind,
): Promise<MachineStarter> {
  return prepareMachine({ isolation, detached }, hypervisor, cpus);
}

function parametersOf(
  options: VmOptions,
  { createdAt: _, ...image }: StoredImage,
  { memoryMiB, cpus, command }: MachineConfig,
  hypervisor: HypervisorKind,
) {
  const { name, detached = false } = options;
  return {
    image,
    hypervisor,
    memoryMiB,
    cpus,
    env: machineEnvironment(options, image),
    detached,
    ...(name === undefined ? {} : { name }),
    ...(command === undefined ? {} : { command: command.argv }),
  };
}

function listenersOf({ signal, onConsole }: VmOptions) {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(onConsole === undefined ? {} : { onConsole }),
  };
}
