import { VmmError } from "../errors.js";
import { ramRanges } from "../memory-map.js";
import type { CpuModel } from "./cpu-model.js";
import { DocumentWriter, type SnapshotDocument } from "./document.js";
import { decodeExtents, type Extent, encodeExtents } from "./extents.js";

/** What a snapshot keeps of a virtio device. */
export interface DeviceState {
  /** Virtio 1.2, section 5. */
  readonly deviceId: number;
  readonly registers: Uint8Array;
  /** Ring positions of each queue, `null` where the driver left it disabled. */
  readonly queues: readonly ({
    readonly lastAvailableIndex: number;
    readonly usedIndex: number;
  } | null)[];
  /** What the device keeps beside its rings, in its own format. */
  readonly state: Uint8Array | null;
}

/** A file with a part of a snapshot's memory, over the layers before it. */
export interface MemoryLayer {
  /** Its name in the snapshot's directory. */
  readonly file: string;
  /** 32 hexadecimal digits that the file repeats at its end. */
  readonly id: string;
  /** Which bytes of the memory are in it, at the same offset; in order, apart from each other. */
  readonly extents: readonly Extent[];
}

/** Everything that a snapshot's document says. */
export interface MachineState {
  /** Short name of the hypervisor, whose formats the opaque states have. */
  readonly hypervisor: string;
  readonly cpuModel: CpuModel;
  readonly memoryMiB: number;
  /** One state a vCPU, in order. */
  readonly vcpus: readonly Uint8Array[];
  readonly vm: Uint8Array;
  readonly serial: Uint8Array;
  readonly devices: readonly DeviceState[];
  /** From the lowest to the highest. */
  readonly layers: readonly MemoryLayer[];
  /** What whoever saved the machine wanted to know when it is restored. */
  readonly metadata: string;
}

/** The processor architecture whose registers the states hold. */
const ARCHITECTURE = "x86-64";
/** Below a new layer there are at most so many others: each costs the host mappings. */
export const MAX_LAYERS = 8;
const LAYER_FILE = /^[a-z]+(-\d+)?$/;
const LAYER_ID = /^[0-9a-f]{32}$/;

export function encodeMachineState(state: MachineState): Uint8Array {
  const writer = new DocumentWriter();
  const blob = (bytes: Uint8Array) => writer.blob(bytes);
  return writer.encode({
    architecture: ARCHITECTURE,
    hypervisor: state.hypervisor,
    cpuModel: state.cpuModel,
    memoryMiB: state.memoryMiB,
    vcpus: state.vcpus.map(blob),
    vm: blob(state.vm),
    serial: blob(state.serial),
    devices: state.devices.map((device) => ({
      deviceId: device.deviceId,
      registers: blob(device.registers),
      queues: device.queues.map((q) => q && [q.lastAvailableIndex, q.usedIndex]),
      state: device.state && blob(device.state),
    })),
    layers: state.layers.map(({ file, id, extents }) => {
      return { file, id, extents: blob(encodeExtents(extents)) };
    }),
    metadata: state.metadata,
  });
}

/**
 * Reads what {@link encodeMachineState} wrote, trusting nothing.
 *
 * @throws VmmError `ERR_VMM_SNAPSHOT_CORRUPT` or `ERR_VMM_SNAPSHOT_FORMAT`.
 */
export function decodeMachineState(name: string, document: SnapshotDocument): MachineState {
  const read = new StateReader(name, document.blobs);
  const root = read.record(document.content);
  const architecture = read.text(root["architecture"]);
  if (architecture !== ARCHITECTURE) {
    throw new VmmError(
      "ERR_VMM_SNAPSHOT_FORMAT",
      `the snapshot ${name} is of a machine with ${architecture} processors, not ${ARCHITECTURE}`,
    );
  }
  const cpuModel = read.record(root["cpuModel"]);
  const memoryMiB = read.number(root["memoryMiB"], 2 ** 20);
  const size = ramRanges(memoryMiB).reduce((total, range) => total + range.size, 0);
  return {
    hypervisor: read.text(root["hypervisor"]),
    cpuModel: {
      vendor: read.text(cpuModel["vendor"]),
      signature: read.number(cpuModel["signature"], 2 ** 32),
      features: read.list(cpuModel["features"], 64).map((word) => read.number(word, 2 ** 32)),
    },
    memoryMiB,
    vcpus: read.list(root["vcpus"], 256).map((vcpu) => read.blob(vcpu)),
    vm: read.blob(root["vm"]),
    serial: read.blob(root["serial"]),
    devices: read.list(root["devices"], 64).map((item) => {
      const device = read.record(item);
      const state = device["state"] ?? null;
      return {
        deviceId: read.number(device["deviceId"], 2 ** 16),
        registers: read.blob(device["registers"]),
        queues: read.list(device["queues"], 1024).map((queue) => {
          if (queue === null) return null;
          const [available, used] = read.list(queue, 2);
          return {
            lastAvailableIndex: read.number(available, 0x1_0000),
            usedIndex: read.number(used, 0x1_0000),
          };
        }),
        state: state === null ? null : read.blob(state),
      };
    }),
    layers: read.list(root["layers"], MAX_LAYERS).map((item) => {
      const layer = read.record(item);
      const extents = decodeExtents(read.blob(layer["extents"]), size);
      if (extents === undefined) throw read.wrong("a table of extents");
      return {
        file: read.text(layer["file"], LAYER_FILE),
        id: read.text(layer["id"], LAYER_ID),
        extents,
      };
    }),
    metadata: read.text(root["metadata"]),
  };
}

/** Reads parts of a document, each of which must be of its kind. */
class StateReader {
  readonly #name: string;
  readonly #blobs: readonly Uint8Array[];

  constructor(name: string, blobs: readonly Uint8Array[]) {
    this.#name = name;
    this.#blobs = blobs;
  }

  wrong(what: string): VmmError {
    return new VmmError(
      "ERR_VMM_SNAPSHOT_CORRUPT",
      `the snapshot ${this.#name} is damaged: ${what} is not what it must be; make it anew`,
    );
  }

  record(value: unknown): Record<string, unknown> {
    if (typeof value !== "object" || value === null) throw this.wrong("a record");
    return value as Record<string, unknown>;
  }

  list(value: unknown, limit: number): unknown[] {
    if (!Array.isArray(value) || value.length > limit) throw this.wrong("a list");
    return value;
  }

  text(value: unknown, pattern?: RegExp): string {
    if (typeof value !== "string" || pattern?.test(value) === false) throw this.wrong("a text");
    return value;
  }

  /** A whole number from 0 to below `limit`. */
  number(value: unknown, limit: number): number {
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= limit) {
      return value;
    }
    throw this.wrong("a number");
  }

  blob(value: unknown): Uint8Array {
    const bytes = this.#blobs[this.number(this.record(value)["blob"], this.#blobs.length)];
    if (bytes === undefined) throw this.wrong("a reference");
    return bytes;
  }
}
