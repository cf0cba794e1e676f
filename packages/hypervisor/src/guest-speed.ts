import { HypervisorError } from "./errors.js";
import { ExitReason } from "./exit.js";
import type { Hypervisor } from "./hypervisor.js";
import { enterLongMode } from "./long-mode.js";
import type { VcpuHandle } from "./vcpu.js";

/** What {@link measureGuestSpeed} found. */
export interface GuestSpeed {
  /** Of a tight loop in 64-bit mode. A processor does billions; an interpreter a few millions. */
  readonly instructionsPerSecond: number;
}

/**
 * Guests slower than this are better served by an emulator. Booting Linux takes roughly half a billion
 * instructions: 10 s at this speed. Hypervisors that run guests on the processor, nested ones included,
 * are above 500 million, QEMU's translator above 100 million; those that interpret are below 10 million.
 */
export const MINIMUM_GUEST_SPEED = 50_000_000;

const CODE = 0x1000;
const TABLES = 0x2000;
const MEMORY_SIZE = 0x5000;
const INSTRUCTIONS_PER_ITERATION = 2;

/** Long enough to tell the loop from the cost of entering and leaving the guest. */
const LONG_ENOUGH_MS = 4;
const MAX_ITERATIONS = 20_000_000;

// 1000  ff c9   loop: dec ecx
// 1002  75 fc         jnz loop
// 1004  e6 10         out 0x10, al
const loop = [0xff, 0xc9, 0x75, 0xfc, 0xe6, 0x10];

function runLoop(vcpu: VcpuHandle, iterations: number): number {
  const { x86 } = vcpu;
  x86?.setRegisters({
    ...x86.getRegisters(),
    rcx: BigInt(iterations),
    rip: BigInt(CODE),
    rflags: 2n,
  });
  const start = performance.now();
  let reason = vcpu.run();
  while (reason === ExitReason.INTERRUPTED) reason = vcpu.run();
  const elapsed = performance.now() - start;
  if (reason !== ExitReason.IO) {
    const found = vcpu.exit.describe();
    throw new HypervisorError(
      "ERR_HYPERVISOR_GUEST_FAILED",
      `a loop of three instructions did not run to its end: ${found}: do not use this hypervisor`,
    );
  }
  return elapsed;
}

/**
 * Measures how fast a guest really runs, in a throw-away VM, because some cloud machines offer a
 * hypervisor that interprets instructions. Takes about 5 ms on a processor and 25 ms at 2 million
 * instructions a second: the loop starts small and grows only while it is too short to measure.
 * Blocks this thread meanwhile. x86 only for now.
 *
 * @throws {@link HypervisorError} when no VM can be made or the loop fails.
 */
export function measureGuestSpeed(hypervisor: Hypervisor): GuestSpeed {
  using memory = hypervisor.allocateMemory(MEMORY_SIZE);
  using vm = hypervisor.createVm();
  vm.mapMemory({
    slot: 0,
    guestAddress: 0,
    hostAddress: memory.address,
    size: memory.length,
  });
  new Uint8Array(memory.view()).set(loop, CODE);
  using vcpu = vm.createVcpu(0);
  if (vcpu.x86 === undefined) {
    throw new HypervisorError(
      "ERR_HYPERVISOR_UNSUPPORTED",
      `${hypervisor.name}: the speed of guests can be measured on x86 only`,
    );
  }
  vcpu.x86.setCpuid(hypervisor.x86?.supportedCpuid() ?? []);
  enterLongMode(vcpu.x86, memory.view(), TABLES);
  // The first entry pays for page faults and code that the host has not run yet.
  runLoop(vcpu, 1);
  let iterations = 20_000;
  let elapsed = runLoop(vcpu, iterations);
  while (elapsed < LONG_ENOUGH_MS && iterations < MAX_ITERATIONS) {
    iterations *= 10;
    elapsed = runLoop(vcpu, iterations);
  }
  return { instructionsPerSecond: (iterations * INSTRUCTIONS_PER_ITERATION * 1000) / elapsed };
}
