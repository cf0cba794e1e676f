import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findKernel } from "@supermachine/guest";
import type { OwnFacility } from "@supermachine-internal/testing";

const kernel = await findKernel();

/** What a test needs that runs a guest. */
export const machineFacilities = [
  "program:qemu-system-x86_64",
  "program:setpriv",
  "program:musl-gcc",
  "program:cpio",
] as const;

export const guestKernel: OwnFacility = {
  name: "guest-kernel",
  missing: kernel ? undefined : "build the one of packages/guest or set SUPERMACHINE_KERNEL",
};

/** The guest kernel; there is one where {@link guestKernel} is not missing. */
export const guestKernelPath = kernel ?? "";

/**
 * Builds an initial RAM disk at `path`, in a directory for it alone: the C program as PID 1, and `modules` to be
 * loaded in that order.
 */
export function buildInitrd(path: string, modules: readonly string[] = []): void {
  const root = `${path}.root`;
  mkdirSync(join(root, "modules"), { recursive: true });
  const source = fileURLToPath(new URL("guest/init.c", import.meta.url));
  const flags = ["-static", "-Os", "-Wall", "-Werror"];
  execFileSync("musl-gcc", [...flags, "-o", join(root, "init"), source]);
  for (const module of modules) copyFileSync(module, join(root, "modules", basename(module)));
  const order = modules.map((module) => `${basename(module)}\n`).join("");
  writeFileSync(join(root, "modules", "order"), order);
  const pack = 'cd "$1" && find . | cpio -o -H newc --quiet > "$2"';
  execFileSync("sh", ["-c", pack, "sh", root, path]);
}

export interface GuestOptions {
  /** `microvm` for our kernel, whose devices are on the command line; `pc` for any other. */
  readonly machine: "microvm" | "pc";
  readonly kernel: string;
  readonly initrd: string;
  /** Of the vhost-user server. */
  readonly socketPath: string;
  readonly commandLine?: string;
  /** Where QEMU shall listen for {@link Guest.monitor}. Default: nowhere. */
  readonly monitorPath?: string;
}

/** A guest in QEMU, translated, with one virtio-fs "fs". */
export class Guest implements AsyncDisposable {
  /** What the guest has printed, and QEMU. */
  readonly lines: string[] = [];
  readonly #monitorPath: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  constructor(options: GuestOptions) {
    const { machine, kernel, initrd, socketPath, commandLine = "", monitorPath = "" } = options;
    this.#monitorPath = monitorPath;
    const pci = machine === "pc";
    // Whatever ends this process ends QEMU with it.
    const child = spawn(
      "setpriv",
      [
        ...["--pdeathsig", "KILL", "--", "qemu-system-x86_64"],
        ...["-M", `${pci ? "q35" : "microvm,acpi=off"},memory-backend=ram`, "-accel", "tcg"],
        ...["-m", "192M", "-object", "memory-backend-memfd,id=ram,size=192M,share=on"],
        ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"],
        ...["-global", "virtio-mmio.force-legacy=false", "-cpu", "max"],
        ...(monitorPath ? ["-qmp", `unix:${monitorPath},server=on,wait=off`] : []),
        ...["-chardev", `socket,id=fs,path=${socketPath}`],
        ...["-device", `vhost-user-fs-${pci ? "pci" : "device"},chardev=fs,tag=fs,queue-size=512`],
        ...["-kernel", kernel, "-initrd", initrd],
        ...["-append", `console=ttyS0 reboot=t panic=-1 quiet ${commandLine}`],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    const read = (line: string) => void this.lines.push(line.trimEnd());
    createInterface({ input: child.stdout }).on("line", read);
    createInterface({ input: child.stderr }).on("line", read);
    this.#ended = new Promise((resolve) => child.on("close", () => resolve()));
  }

  /** Lets QEMU's monitor (QMP) do a command, and waits until it has. */
  async monitor(command: "stop" | "cont"): Promise<void> {
    const socket = connect(this.#monitorPath);
    for (const execute of ["qmp_capabilities", command]) {
      socket.write(`${JSON.stringify({ execute })}\n`);
    }
    let answers = 0;
    for await (const line of createInterface({ input: socket })) {
      const said: object = JSON.parse(line);
      if ("error" in said) throw new Error(line);
      if ("return" in said && ++answers === 2) break;
    }
    socket.destroy();
  }

  /** Waits until QEMU has ended by itself, and gives what the guest reported. */
  async report(): Promise<string[]> {
    await this.#ended;
    return this.lines.filter((line) => /^(ok|failed|qemu)/.test(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

/** What {@link Guest.report} gives when all is well. */
export const ALL_OK = ["data", "names", "directory", "unlinked", "attributes", "umount"].map(
  (step) => `ok ${step}`,
);
