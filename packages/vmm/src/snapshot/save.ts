import { randomBytes } from "node:crypto";
import type { HostMemory, Hypervisor, VmHandle } from "@supermachine/hypervisor";
import { ResourceStack } from "@supermachine-internal/libc";
import type { DeviceBus } from "../device-bus.js";
import { VmmError } from "../errors.js";
import type { GuestRam } from "../guest-ram.js";
import type { VcpuGroup } from "../vcpu-group.js";
import { cpuModel } from "./cpu-model.js";
import { SnapshotDraft } from "./draft.js";
import { drain } from "./drain.js";
import { encodeMachineState, MAX_LAYERS, type MachineState } from "./machine-state.js";
import { type MemoryBase, writeMemoryFile } from "./memory-file.js";
import { DOCUMENT_FILE, Snapshot } from "./snapshot.js";

/** Options of {@link Machine.save}. */
export interface SaveOptions {
  /**
   * An earlier snapshot: only the memory that differs from it is written. The new one shares the files of the
   * base, on whose file system it must be, and stays whole when the base is removed. At most 8 deep.
   */
  readonly base?: string | undefined;
  /** Kept with the snapshot, and given back as `Snapshot.metadata`. */
  readonly metadata?: string | undefined;
}

/** The parts of a machine of which a snapshot is made. */
export interface SavedParts {
  readonly hypervisor: Hypervisor;
  readonly memoryMiB: number;
  readonly ram: GuestRam;
  readonly vm: VmHandle;
  readonly vcpus: VcpuGroup;
  readonly bus: DeviceBus;
  readonly serial: SharedArrayBuffer;
  /** What the machine went on from, if it did. */
  readonly origin: MachineState | undefined;
}

/** How the vCPUs are made to wait for as long as it takes. */
export interface PauseControl {
  pause(): Promise<void>;
  resume(): Promise<void>;
}

/** The file of a snapshot's own layer; those below it are `base-0`, the lowest, `base-1` and so on. */
const MEMORY_FILE = "memory";

export async function saveMachine(
  parts: SavedParts,
  directory: string,
  options: SaveOptions,
  control: PauseControl,
): Promise<void> {
  using draft = new SnapshotDraft(directory);
  using base = options.base === undefined ? undefined : openBase(options.base, parts);
  await control.pause();
  try {
    while (parts.bus.inFlight > 0 || !parts.vcpus.areParked) {
      await drain(parts.bus, "be saved");
      // It may have ended while this waited, or been let run on.
      await control.pause();
    }
    capture(parts, draft, base, options.metadata ?? "");
  } finally {
    await control.resume();
  }
  await draft.publish();
}

/** Takes everything at one moment: nothing here lets the event loop, and with it a device, go on. */
function capture(
  parts: SavedParts,
  draft: SnapshotDraft,
  base: Snapshot | undefined,
  metadata: string,
): void {
  const { hypervisor, memoryMiB, ram, vm, vcpus, bus, serial, origin } = parts;
  const states = {
    vcpus: vcpus.collectStates(),
    vm: vm.saveState(),
    devices: bus.save(),
    serial: new Uint8Array(serial).slice(),
  };
  using resources = new ResourceStack();
  const id = randomBytes(16).toString("hex");
  const memoryBase = compareWith(base, hypervisor, origin, resources);
  const extents = draft.write(MEMORY_FILE, (fd) => writeMemoryFile(fd, id, ram.memory, memoryBase));
  const below = (base?.state.layers ?? []).map((layer, n) => {
    const file = `base-${n}`;
    draft.link(base?.pathOf(layer) ?? "", file);
    return { ...layer, file };
  });
  const state: MachineState = {
    hypervisor: hypervisor.name,
    cpuModel: cpuModel(hypervisor),
    memoryMiB,
    ...states,
    layers: [...below, { file: MEMORY_FILE, id, extents }],
    metadata,
  };
  draft.writeBytes(DOCUMENT_FILE, encodeMachineState(state));
}

function compareWith(
  base: Snapshot | undefined,
  hypervisor: Hypervisor,
  origin: MachineState | undefined,
  resources: ResourceStack,
): MemoryBase {
  const mapped = (origin?.layers ?? []).flatMap(({ extents }) => extents);
  if (base === undefined) return { memory: undefined, isMapped: false, mapped };
  const memory = mapBase(base, hypervisor);
  for (const part of memory) resources.use(part);
  const isMapped =
    origin !== undefined && base.state.layers.at(-1)?.id === origin.layers.at(-1)?.id;
  return { memory, isMapped, mapped };
}

function mapBase(base: Snapshot, hypervisor: Hypervisor): HostMemory[] {
  try {
    return base.allocateMemory(hypervisor);
  } catch (cause) {
    throw new VmmError(
      "ERR_VMM_SNAPSHOT_BASE",
      `the host cannot map the ${base.memoryMiB} MiB of ${base.directory} to compare with them: save without a base`,
      { cause },
    );
  }
}

function openBase(directory: string, { memoryMiB }: SavedParts): Snapshot {
  const refuse = (detail: string, cause?: unknown) =>
    new VmmError("ERR_VMM_SNAPSHOT_BASE", `${directory} cannot be the base: ${detail}`, { cause });
  let base: Snapshot;
  try {
    base = Snapshot.open(directory);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error), error);
  }
  if (base.memoryMiB !== memoryMiB || base.state.layers.length >= MAX_LAYERS) {
    base.close();
    throw refuse(
      base.memoryMiB === memoryMiB
        ? `it has ${MAX_LAYERS} layers already; save without a base`
        : `its machine has ${base.memoryMiB} MiB of memory, this one ${memoryMiB}`,
    );
  }
  return base;
}
