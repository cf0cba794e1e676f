import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { FileExtent, HostMemory, Hypervisor } from "@supermachine/hypervisor";
import { ResourceStack } from "@supermachine-internal/libc";
import { VmmError } from "../errors.js";
import { ramRanges } from "../memory-map.js";
import { checkCpuModel, cpuModel } from "./cpu-model.js";
import { decodeDocument, MAX_DOCUMENT } from "./document.js";
import { decodeMachineState, type MachineState, type MemoryLayer } from "./machine-state.js";
import { checkMemoryFile, verifyMemoryFile } from "./memory-file.js";

/** Name of the document in a snapshot's directory. */
export const DOCUMENT_FILE = "machine";

/** An open memory file of a snapshot. */
interface OpenLayer extends MemoryLayer {
  readonly fd: number;
  readonly path: string;
}

/**
 * A snapshot on disk, open: its document is checked, and what is removed from its directory now stays
 * usable. Several machines may go on from one, at the same time too.
 */
export class Snapshot implements Disposable {
  readonly directory: string;
  /** What was given to `Machine.save`. */
  readonly metadata: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** For {@link Machine}. */
  readonly state: MachineState;
  readonly #layers: readonly OpenLayer[];
  readonly #resources: ResourceStack;

  private constructor(
    directory: string,
    state: MachineState,
    layers: readonly OpenLayer[],
    resources: ResourceStack,
  ) {
    this.directory = directory;
    this.state = state;
    this.metadata = state.metadata;
    this.memoryMiB = state.memoryMiB;
    this.cpus = state.vcpus.length;
    this.#layers = layers;
    this.#resources = resources;
  }

  /**
   * Opens the snapshot in `directory` and checks its document, and that its memory files are there.
   *
   * @throws VmmError `ERR_VMM_SNAPSHOT_FORMAT`, `ERR_VMM_SNAPSHOT_VERSION` or `ERR_VMM_SNAPSHOT_CORRUPT`.
   */
  static open(directory: string): Snapshot {
    const path = resolve(directory);
    const state = decodeMachineState(path, decodeDocument(path, readDocument(path)));
    const size = memorySize(state.memoryMiB);
    const resources = new ResourceStack();
    try {
      const layers = state.layers.map((layer) => {
        const file = join(path, layer.file);
        const fd = openPart(file);
        resources.defer(() => closeSync(fd));
        checkMemoryFile(fd, file, layer, size);
        return { ...layer, fd, path: file };
      });
      return new Snapshot(path, state, layers, resources);
    } catch (error) {
      resources.dispose();
      throw error;
    }
  }

  /**
   * Whether a machine of `hypervisor` can go on from this snapshot here.
   *
   * @throws VmmError `ERR_VMM_SNAPSHOT_FORMAT` or `ERR_VMM_SNAPSHOT_CPU`.
   */
  checkHost(hypervisor: Hypervisor): void {
    if (this.state.hypervisor !== hypervisor.name) {
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_FORMAT",
        `the snapshot ${this.directory} was made with ${this.state.hypervisor}, and this is ${hypervisor.name}: make it anew here`,
      );
    }
    checkCpuModel(this.directory, this.state.cpuModel, cpuModel(hypervisor));
  }

  /**
   * Reads all of the memory and compares it with its checksums.
   *
   * @throws VmmError `ERR_VMM_SNAPSHOT_CORRUPT`
   */
  verifyMemory(): void {
    for (const layer of this.#layers) verifyMemoryFile(layer.fd, layer.path, layer);
  }

  /** Path of a layer's file. */
  pathOf({ file }: MemoryLayer): string {
    return join(this.directory, file);
  }

  /** The memory as it was, one for each RAM range of the machine; the files are shared, copy-on-write. */
  allocateMemory(hypervisor: Hypervisor): HostMemory[] {
    const resources = new ResourceStack();
    try {
      let start = 0;
      return ramRanges(this.memoryMiB).map(({ size }) => {
        const contents = this.#layers.flatMap((layer) => extentsWithin(layer, start, size));
        start += size;
        return resources.use(hypervisor.allocateMemory(size, contents));
      });
    } catch (error) {
      resources.dispose();
      throw error;
    }
  }

  close(): void {
    this.#resources.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Bytes of RAM of a machine. */
export function memorySize(memoryMiB: number): number {
  return ramRanges(memoryMiB).reduce((total, { size }) => total + size, 0);
}

/** The parts of a layer in `size` bytes of memory from `start` on. */
function extentsWithin(layer: OpenLayer, start: number, size: number): FileExtent[] {
  return layer.extents.flatMap(({ offset, length }) => {
    const from = Math.max(offset, start);
    const end = Math.min(offset + length, start + size);
    if (from >= end) return [];
    return { fd: layer.fd, fileOffset: from, memoryOffset: from - start, length: end - from };
  });
}

/** A file of a snapshot; one that is something else does not make this process wait. */
function openPart(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (cause) {
    throw new VmmError(
      "ERR_VMM_SNAPSHOT_CORRUPT",
      `the snapshot's file ${path} cannot be opened; make the snapshot anew`,
      { cause },
    );
  }
}

function readDocument(directory: string): Uint8Array {
  const fd = openPart(join(directory, DOCUMENT_FILE));
  try {
    const stats = fstatSync(fd);
    if (stats.isFile() && stats.size <= MAX_DOCUMENT) return readFileSync(fd);
    throw new VmmError("ERR_VMM_SNAPSHOT_FORMAT", `${directory} is not a snapshot of a machine`);
  } finally {
    closeSync(fd);
  }
}
