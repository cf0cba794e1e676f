import { setImmediate } from "node:timers/promises";
import type { GenerationId } from "../device/generation-id.js";
import { drain } from "./drain.js";
import type { MachineState } from "./machine-state.js";
import type { SavedParts } from "./save.js";

/** The parts of a machine that go back. */
export interface RevertedParts extends Pick<SavedParts, "ram" | "vm" | "vcpus" | "bus" | "serial"> {
  readonly generationId: GenerationId;
}

/**
 * Makes a machine whose vCPUs wait what it was when it went on from `state`, its vCPUs still waiting. When this
 * rejects, the machine is neither that nor what it was.
 *
 * Nothing of the snapshot's files is opened: the memory still maps them, even when they have been removed.
 */
export async function revertMachine(parts: RevertedParts, state: MachineState): Promise<void> {
  const { ram, vm, vcpus, bus, serial, generationId } = parts;
  // First the routes of interrupts, which the guest chose: by them INIT could reach a vCPU that is back already.
  vm.restoreState(state.vm);
  bus.stop();
  await drain(bus, "go back");
  vcpus.replaceStates(state.vcpus);
  // After that: the hypervisor writes to places in memory that registers of the vCPUs name.
  ram.revert();
  new Uint8Array(serial).set(state.serial);
  // Again, for it delivers to the vCPUs what was pending in the snapshot.
  vm.restoreState(state.vm);
  bus.restore(state.devices);
  generationId.renew();
}

/** Resolves when what vCPU threads that wait had told before has been heard. */
export async function heardAll(): Promise<void> {
  // Messages come between two of these.
  await setImmediate();
  await setImmediate();
}
