import { expect } from "vitest";
import { ExitReason, type VcpuExit } from "../exit.js";
import type { HostMemory, Hypervisor } from "../hypervisor.js";
import { enterLongMode } from "../long-mode.js";
import type { VcpuHandle } from "../vcpu.js";
import type { VmHandle } from "../vm.js";
import type { X86Vcpu } from "../x86.js";
import type { DriverThread } from "./thread.js";

/** The guest's memory: 64 KiB from address 0; everything above is nobody's. */
export const MEMORY_SIZE = 0x1_0000;
/** Where code starts. */
export const CODE = 0x1000;
const PAGE_TABLES = 0xa000;
const STACK = 0x8000;
/** A guest that has not finished after this long never will: the slowest known runs at 2 MIPS. */
const HANG_MS = 15_000;

/** A port or memory access, copied out of the reused exit view. */
export interface Access {
  readonly at: number;
  readonly length: number;
  /** What the guest wrote; `undefined` for a read. */
  readonly wrote?: bigint | number;
}

export interface MachineOptions {
  readonly code: readonly number[];
  readonly mode?: "real" | "long";
  readonly interruptController?: boolean;
  /** Kicks this machine when it hangs. */
  readonly thread?: DriverThread;
}

/** Identifies the watchdog's timers. */
let nextWatch = 1;

/** A VM with one vCPU, a little memory and a hand-assembled program. */
export class Machine implements Disposable {
  readonly vm: VmHandle;
  readonly vcpu: VcpuHandle;
  readonly memory: Uint8Array;
  readonly #hostMemory: HostMemory;
  readonly #thread: DriverThread | undefined;
  readonly #watch = nextWatch++;
  readonly #created = performance.now();

  constructor(hypervisor: Hypervisor, options: MachineOptions) {
    this.#thread = options.thread;
    this.vm = hypervisor.createVm();
    this.#hostMemory = hypervisor.allocateMemory(MEMORY_SIZE);
    this.memory = new Uint8Array(this.#hostMemory.view());
    this.memory.set(options.code, CODE);
    this.vm.mapMemory({
      slot: 0,
      guestAddress: 0,
      hostAddress: this.#hostMemory.address,
      size: MEMORY_SIZE,
    });
    if (options.interruptController === true) this.vm.createInterruptController();
    this.vcpu = this.vm.createVcpu(0);
    this.x86.setCpuid(hypervisor.x86?.supportedCpuid() ?? []);
    if (options.mode === "long") enterLongMode(this.x86, this.#hostMemory.view(), PAGE_TABLES);
    else this.#enterRealMode();
    this.jump(CODE);
    this.#thread?.send({
      type: "kick",
      id: this.#watch,
      vmToken: this.vm.token,
      kickToken: this.vcpu.kickToken,
      // Timers of two threads: let this one be the later.
      after: HANG_MS + 1000,
    });
  }

  get x86(): X86Vcpu {
    if (this.vcpu.x86 === undefined) throw new Error("the guests of this suite are for x86");
    return this.vcpu.x86;
  }

  /** Continues at another address, with interrupts off and an empty stack. */
  jump(address: number): void {
    this.x86.setRegisters({
      ...this.x86.getRegisters(),
      rip: BigInt(address),
      rsp: BigInt(STACK),
      rflags: 2n,
    });
  }

  /** Runs to the next exit other than an interruption. A guest that hangs fails the test. */
  run(): ExitReason {
    for (;;) {
      const reason = this.vcpu.run();
      if (reason !== ExitReason.INTERRUPTED) return reason;
      if (performance.now() - this.#created > HANG_MS) expect.fail("the guest hangs");
    }
  }

  /** Runs to the next exit, which must have this reason. */
  runTo(reason: ExitReason): VcpuExit {
    const found = this.run();
    if (found !== reason) {
      expect.fail(`expected exit reason ${reason}, got ${found}: ${this.vcpu.exit.describe()}`);
    }
    return this.vcpu.exit;
  }

  /**
   * Runs until HLT and lists the port and memory accesses; reads are answered by `answers`, in order.
   */
  runToHalt(answers: readonly (number | bigint)[] = []): Access[] {
    const accesses: Access[] = [];
    const pending = [...answers];
    for (;;) {
      const reason = this.run();
      if (reason === ExitReason.HLT) return accesses;
      if (reason !== ExitReason.IO && reason !== ExitReason.MMIO) {
        expect.fail(`exit reason ${reason}: ${this.vcpu.exit.describe()}`);
      }
      accesses.push(...serve(this.vcpu.exit, reason, pending));
    }
  }

  [Symbol.dispose](): void {
    this.#thread?.send({ type: "cancel", id: this.#watch });
    this.vcpu.close();
    this.vm.close();
    this.#hostMemory.close();
  }

  #enterRealMode(): void {
    const special = this.x86.getSpecialRegisters();
    this.x86.setSpecialRegisters({ ...special, cs: { ...special.cs, base: 0n, selector: 0 } });
  }
}

function* serve(
  exit: VcpuExit,
  reason: ExitReason,
  answers: (number | bigint)[],
): Generator<Access> {
  const isIo = reason === ExitReason.IO;
  const at = isIo ? exit.port : exit.address;
  const length = isIo ? exit.size : exit.length;
  const { data, isWrite } = exit;
  for (let n = 0; n < exit.length / length; n++) {
    if (isWrite) {
      yield { at, length, wrote: read(data, n * length, length) };
    } else {
      write(data, n * length, length, answers.shift() ?? 0);
      yield { at, length };
    }
  }
}

function read(data: DataView, offset: number, length: number): number | bigint {
  switch (length) {
    case 1:
      return data.getUint8(offset);
    case 2:
      return data.getUint16(offset, true);
    case 4:
      return data.getUint32(offset, true);
    default:
      return data.getBigUint64(offset, true);
  }
}

function write(data: DataView, offset: number, length: number, value: number | bigint): void {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  for (let n = 0; n < length; n++) data.setUint8(offset + n, bytes.readUInt8(n));
}
