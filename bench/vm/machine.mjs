// @ts-check
// The machine that all sections measure, and its peer.
import { Vm } from "supermachine";
import { QemuPeer } from "./qemu-peer.mjs";

export const MEMORY_MIB = 256;
export const PEER = "qemu -M microvm -accel kvm";
export const ISOLATIONS = /** @type {const} */ (["inline", "thread", "process"]);
/** Busy hosts boot slowly, and the lab is one. */
const BOOT_TIMEOUT_MS = 180_000;

/** @typedef {(typeof ISOLATIONS)[number]} Isolation */

/** @param {Isolation} isolation */
export const machineOptions = (isolation) =>
  /** @type {const} */ ({
    hypervisor: "kvm",
    isolation,
    memoryMiB: MEMORY_MIB,
    bootTimeoutMs: BOOT_TIMEOUT_MS,
  });

/**
 * A machine that has booted.
 *
 * @param {Isolation} isolation
 */
export function boot(isolation) {
  return Vm.start({ ...machineOptions(isolation), image: "demo", warm: false });
}

/**
 * A machine that goes on from a snapshot.
 *
 * @param {string} snapshot
 * @param {Isolation} isolation
 * @param {boolean} [verifyMemory]
 */
export function restore(snapshot, isolation, verifyMemory = false) {
  return Vm.restore({ snapshot, isolation, verifyMemory, bootTimeoutMs: BOOT_TIMEOUT_MS });
}

/** @param {string} [incoming] */
export function startPeer(incoming) {
  const options = { accelerator: "kvm", memoryMiB: MEMORY_MIB };
  return QemuPeer.start(incoming === undefined ? options : { ...options, incoming });
}

/**
 * Does `work` with something, and disposes of it however that ends.
 *
 * @template {AsyncDisposable} T
 * @template R
 * @param {T | Promise<T>} opening
 * @param {(resource: T) => Promise<R>} work
 */
export async function withResource(opening, work) {
  const resource = await opening;
  try {
    return await work(resource);
  } finally {
    await resource[Symbol.asyncDispose]();
  }
}

/**
 * Milliseconds that `work` takes.
 *
 * @param {() => Promise<unknown>} work
 */
export async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Samples by what they are of. */
export class Samples {
  /** @type {Map<string, number[]>} */
  #samples = new Map();

  /**
   * @param {string} name
   * @param {number} value
   */
  add(name, value) {
    const list = this.#samples.get(name);
    if (list === undefined) this.#samples.set(name, [value]);
    else list.push(value);
  }

  /**
   * @param {string} name
   * @param {() => Promise<unknown>} work
   */
  async time(name, work) {
    this.add(name, await timed(work));
  }

  /** @param {string} name */
  of(name) {
    return this.#samples.get(name) ?? [];
  }

  /** Forgets what warmed caches. */
  clear() {
    this.#samples.clear();
  }
}
