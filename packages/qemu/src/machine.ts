import type { ChildProcess } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveVhostUser, type VhostUserServer, type VirtioDevice } from "@supermachine/virtio";
import { ConsoleLog, type MachineExit } from "@supermachine-internal/console";
import { type QemuDisk, qemuArguments } from "./arguments.js";
import { findQemu } from "./binary.js";
import { type BoundProcess, spawnBound } from "./bound-process.js";
import { QemuError } from "./error.js";
import { frontEndFor } from "./front-end.js";
import { QmpClient } from "./qmp.js";

/** How long QEMU may take to end by itself (it flushes its disks) before it is killed. */
const STOP_MS = 5000;
const MAX_STDERR_LENGTH = 8192;
const MIN_MEMORY_MIB = 32;
const MAX_MEMORY_MIB = 1024 * 1024;
/** The most vCPUs of a machine. */
export const MAX_CPUS = 16;

/** Options of {@link QemuMachine.start}. */
export interface QemuMachineOptions {
  /** Path of a bzImage with virtio-mmio devices from the command line. */
  readonly kernel: string;
  /** Path of an initial RAM disk. */
  readonly initrd?: string | undefined;
  /**
   * Kernel command line; QEMU appends what announces the devices. The guest ends the machine by a reset,
   * so give `reboot=t panic=-1`; `console=ttyS0` shows what happens.
   */
  readonly commandLine: string;
  /** Guest memory in MiB, 32 to 1,048,576. */
  readonly memoryMiB: number;
  /** vCPUs, 1 to {@link MAX_CPUS}. Default 1. */
  readonly cpus?: number | undefined;
  /** Raw disks that QEMU serves, in the order in which the guest finds them. */
  readonly disks?: readonly QemuDisk[] | undefined;
  /**
   * File system and vsock devices, served by this thread over vhost-user. The machine closes them. Their
   * host side (`VsockDevice.connect` and so on) is used as with any other machine.
   */
  readonly devices?: readonly VirtioDevice[] | undefined;
  /** Default `"tcg"`: QEMU translates the guest's code, which works everywhere and isolates as well. */
  readonly accelerator?: "tcg" | "kvm" | undefined;
  /** Receives what the guest prints on its serial console, as it comes. */
  readonly onConsole?: ((bytes: Uint8Array) => void) | undefined;
  /** Hears why a device stopped serving the guest. */
  readonly onDeviceFailure?: ((reason: Error) => void) | undefined;
  /** Where the machine keeps its sockets; a directory of its own is made there. Default: the system's. */
  readonly runtimeDirectory?: string | undefined;
  /** Path of `qemu-system-x86_64`. Default: the one that `PATH` finds. */
  readonly qemu?: string | undefined;
}

/**
 * One running virtual machine in a QEMU process. QEMU ends with this process, also when that is killed
 * (on Linux, where `setpriv` of util-linux is installed).
 */
export class QemuMachine implements AsyncDisposable {
  /** Settles when QEMU has ended and everything the machine owned is released. Never rejects. */
  readonly exited: Promise<MachineExit>;
  readonly #console = new ConsoleLog();
  readonly #child: ChildProcess;
  readonly #monitor: QmpClient;
  #stderr = "";
  #stopping = false;
  #killTimer: NodeJS.Timeout | undefined;

  /**
   * Starts QEMU. Resolves once it runs, without waiting for the guest.
   *
   * @throws {@link QemuError}; nothing is left behind then, and the devices are closed.
   */
  static async start(options: QemuMachineOptions): Promise<QemuMachine> {
    const cleanup: (() => void)[] = [];
    const release = () => {
      for (const step of cleanup.splice(0).reverse()) {
        try {
          step();
        } catch (error) {
          // The machine has ended all the same, and the other steps are still to be taken.
          process.emitWarning(error instanceof Error ? error : String(error));
        }
      }
    };
    try {
      for (const device of options.devices ?? []) cleanup.push(() => device.close());
      checkOptions(options);
      const { path } = await findQemu(options.qemu);
      const directory = makeDirectory(options.runtimeDirectory);
      cleanup.push(() => rmSync(directory, { recursive: true, force: true }));
      const servers = serveDevices(options, directory, (server) =>
        cleanup.push(() => server.close()),
      );
      const args = qemuArguments({
        kernel: options.kernel,
        initrd: options.initrd,
        commandLine: options.commandLine,
        memoryMiB: options.memoryMiB,
        cpus: options.cpus ?? 1,
        accelerator: options.accelerator ?? "tcg",
        disks: options.disks ?? [],
        frontEnds: servers,
      });
      const bound = await spawnBound(path, args);
      return new QemuMachine(bound, options.onConsole, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  private constructor(
    { child, stdout, stderr, channel }: BoundProcess,
    onConsole: ((bytes: Uint8Array) => void) | undefined,
    release: () => void,
  ) {
    this.#child = child;
    this.#monitor = new QmpClient(channel);
    stdout.on("data", (bytes: Buffer) => {
      this.#console.append(bytes);
      onConsole?.(bytes);
    });
    stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR_LENGTH);
    });
    this.exited = new Promise((resolve) => {
      // "close" comes after the last byte of the console.
      child.once("close", (code, signal) => {
        clearTimeout(this.#killTimer);
        release();
        resolve({ ...this.#explain(code, signal), console: this.#console.lines() });
      });
    });
  }

  /** The last lines of the guest's console, oldest first. */
  consoleLines(): readonly string[] {
    return this.#console.lines();
  }

  /** The process id of QEMU. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /**
   * Stops the guest's processors, clocks and devices; connections to it stay open. Resolves when all stand still,
   * which waits for requests that devices have in flight. Idempotent.
   *
   * @throws {@link QemuError} ERR_QEMU_ENDED, ERR_QEMU_COMMAND
   */
  async pause(): Promise<void> {
    await this.#monitor.execute("stop");
  }

  /**
   * Lets a paused guest run on, from the time at which it stood still. Idempotent.
   *
   * @throws {@link QemuError} ERR_QEMU_ENDED, ERR_QEMU_COMMAND
   */
  async resume(): Promise<void> {
    await this.#monitor.execute("cont");
  }

  /** Ends the machine at once, as pulling the plug would; its disks are flushed. Idempotent. */
  async stop(): Promise<MachineExit> {
    const { exitCode, signalCode } = this.#child;
    if (!this.#stopping && exitCode === null && signalCode === null) {
      this.#stopping = true;
      this.#child.kill("SIGTERM");
      this.#killTimer = setTimeout(() => this.kill(), STOP_MS);
    }
    return await this.exited;
  }

  /** Kills QEMU, whatever its state. */
  kill(): void {
    this.#stopping = true;
    this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #explain(code: number | null, signal: string | null): Pick<MachineExit, "reason" | "message"> {
    const { panic } = this.#console;
    if (panic !== undefined) {
      return { reason: "panic", message: `the guest's kernel panicked: ${panic}` };
    }
    if (this.#stopping) return { reason: "stopped", message: "the machine was stopped" };
    if (code === 0) return { reason: "shutdown", message: "the guest shut down" };
    const how = signal === null ? `ended with status ${code}` : `was killed by ${signal}`;
    const said = this.#stderr.trim();
    return { reason: "hypervisor-error", message: `QEMU ${how}${said && `: ${said}`}` };
  }
}

function checkOptions(options: QemuMachineOptions): void {
  if (process.platform !== "linux") {
    throw new QemuError(
      "ERR_QEMU_PLATFORM",
      `QEMU machines run on Linux, this is ${process.platform}`,
    );
  }
  const checkRange = (option: string, value: number, min: number, max: number) => {
    if (Number.isInteger(value) && value >= min && value <= max) return;
    throw new QemuError(
      "ERR_QEMU_OPTION",
      `${option} is ${value}; give a whole number ${min} to ${max}`,
    );
  };
  checkRange("memoryMiB", options.memoryMiB, MIN_MEMORY_MIB, MAX_MEMORY_MIB);
  checkRange("cpus", options.cpus ?? 1, 1, MAX_CPUS);
  const checkFile = (what: string, path: string, mode: number) => {
    try {
      accessSync(path, mode);
    } catch (cause) {
      throw new QemuError("ERR_QEMU_OPTION", `cannot open the ${what} ${path}`, { cause });
    }
  };
  checkFile("kernel", options.kernel, constants.R_OK);
  if (options.initrd !== undefined) {
    checkFile("initial RAM disk", options.initrd, constants.R_OK);
  }
  for (const { path, readOnly } of options.disks ?? []) {
    checkFile("disk", path, readOnly ? constants.R_OK : constants.R_OK | constants.W_OK);
  }
}

function makeDirectory(parent = tmpdir()): string {
  try {
    return mkdtempSync(join(parent, "qemu-"));
  } catch (cause) {
    throw new QemuError(
      "ERR_QEMU_OPTION",
      `cannot make a directory for the machine's sockets in ${parent}`,
      { cause },
    );
  }
}

function serveDevices(
  { devices = [], onDeviceFailure }: QemuMachineOptions,
  directory: string,
  onServer: (server: VhostUserServer) => void,
) {
  return devices.map((device, i) => {
    const frontEnd = frontEndFor(device);
    const socketPath = join(directory, `device${i}.sock`);
    const logger = { warn: (message: string) => onDeviceFailure?.(new Error(message)) };
    try {
      onServer(serveVhostUser({ socketPath, device, logger }));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new QemuError(
        "ERR_QEMU_OPTION",
        `cannot make the machine's sockets: ${reason}; give another runtimeDirectory`,
        { cause },
      );
    }
    return { ...frontEnd, socketPath };
  });
}
