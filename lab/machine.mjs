// @ts-check
// The lab's machine: QEMU with an emulated AMD CPU whose SVM and nested paging are good enough for
// kvm-amd, and virtiofsd sharing this host's root.
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { access, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Debian 12 ships virtiofsd with QEMU; later releases as a package of its own. */
const VIRTIOFSD = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
/** virtio-serial ports in the order of their numbers; port n is file descriptor n + 2 of QEMU. */
const PORTS = /** @type {const} */ ([
  "session",
  "stdin",
  "stdout",
  "stderr",
  "status",
  "heartbeat",
]);
const CONSOLE_TAIL_BYTES = 16 * 1024;

/**
 * @typedef {object} MachineOptions
 * @property {string} kernel
 * @property {string} initrd
 * @property {number} memoryMiB
 * @property {number} cpus more than one freezes now and then: see `qemuArguments`
 */

/** A started machine. Whatever ends this process, QEMU and virtiofsd end with it. */
export class Machine {
  #directory;
  #qemu;
  #virtiofsd;
  #consoleTail = "";

  /**
   * @param {MachineOptions} options
   * @returns {Promise<Machine>}
   */
  static async start(options) {
    const directory = await mkdtemp(join(tmpdir(), "supermachine-lab-"));
    try {
      return new Machine(options, directory, await startVirtiofsd(directory));
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * @param {MachineOptions} options
   * @param {string} directory holds virtiofsd's socket; removed once the guest runs
   * @param {import("node:child_process").ChildProcess} virtiofsd
   */
  constructor(options, directory, virtiofsd) {
    this.#directory = directory;
    this.#virtiofsd = virtiofsd;
    this.#qemu = spawnBound("qemu-system-x86_64", qemuArguments(options, directory), [
      "ignore",
      "pipe",
      "pipe",
      ...PORTS.map(() => /** @type {const} */ ("pipe")),
    ]);
    const keep = (/** @type {Buffer} */ chunk) => {
      this.#consoleTail = (this.#consoleTail + chunk.toString("latin1")).slice(-CONSOLE_TAIL_BYTES);
    };
    this.#qemu.stdout?.on("data", keep);
    this.#qemu.stderr?.on("data", keep);
    // The guest says a word before it mounts: by then QEMU has connected and the socket's name is
    // of no more use. Removed this early, it is not left behind by a SIGKILL either.
    this.#qemu.stdout?.once("data", () => this.#removeDirectory());
    // A machine that ends with unread input resets the connection: the same as its end to us.
    for (const name of PORTS) this.port(name).on("error", () => {});
    /** Resolves when QEMU has ended, for whatever reason. */
    this.ended = new Promise((resolve) => {
      this.#qemu.once("error", (cause) => {
        this.#consoleTail += `QEMU could not be started: ${cause.message}\n`;
        resolve(undefined);
      });
      this.#qemu.once("exit", () => resolve(undefined));
    });
  }

  /**
   * The host's end of a virtio-serial port.
   *
   * @param {(typeof PORTS)[number]} name
   * @returns {import("node:net").Socket}
   */
  port(name) {
    return /** @type {import("node:net").Socket} */ (this.#qemu.stdio[3 + PORTS.indexOf(name)]);
  }

  /** The end of what the kernel and QEMU wrote, for a person to read. */
  get consoleTail() {
    return this.#consoleTail;
  }

  /** End the machine at once. Idempotent; the ports still deliver what they hold, then end. */
  kill() {
    this.#qemu.kill("SIGKILL");
    this.#virtiofsd.kill("SIGKILL");
    this.#removeDirectory();
  }

  #removeDirectory() {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** @param {string} directory */
const socketPath = (directory) => join(directory, "virtiofsd");

/**
 * @param {MachineOptions} options
 * @param {string} directory
 */
function qemuArguments({ kernel, initrd, memoryMiB, cpus }, directory) {
  return [
    // No XSAVE: the emulated SVM does not intercept XSETBV, so a guest's XCR0 would become its host's, and
    // the guest's FPU state would be saved in a size that it did not reserve: processes die at random.
    ...["-M", "q35", "-cpu", "EPYC,+svm,+npt,-xsave", "-smp", String(cpus)],
    ...["-m", String(memoryMiB)],
    // QEMU emulates several CPUs at the same time: one may translate code while another patches it, and
    // keep the stale translation for ever. The kernel patches its scheduler through an INT3 whenever the
    // first VM comes or the last one goes: CPUs then spin in the INT3 handler. One CPU never does. Several
    // in one thread (thread=single) do neither, but wait 100 ms for each other's turn to answer an IPI.
    ...["-accel", "tcg"],
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"],
    // The first virtio device, so that the guest calls port n /dev/vport0pN.
    ...["-device", "virtio-serial-pci,max_ports=8"],
    // vhost-user needs guest memory that virtiofsd can map.
    ...["-object", `memory-backend-memfd,id=mem,size=${memoryMiB}M,share=on`],
    ...["-numa", "node,memdev=mem"],
    ...["-chardev", `socket,id=virtiofsd,path=${socketPath(directory)}`],
    ...["-device", "vhost-user-fs-pci,chardev=virtiofsd,tag=host"],
    ...["-device", "virtio-rng-pci"],
    ...PORTS.flatMap((name, index) => [
      ...["-chardev", `socket,id=${name},fd=${3 + index}`],
      ...["-device", `virtserialport,chardev=${name},nr=${1 + index},name=${name}`],
    ]),
    ...["-kernel", kernel, "-initrd", initrd],
    ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"],
  ];
}

/** @param {string} directory */
async function startVirtiofsd(directory) {
  const socket = socketPath(directory);
  const program = await firstExecutable(VIRTIOFSD);
  if (program === undefined)
    throw new Error("virtiofsd is missing: install qemu-system-common (Debian 12) or virtiofsd");
  const child = spawnBound(
    program,
    [`--socket-path=${socket}`, "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"],
    ["ignore", "ignore", "pipe"],
  );
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text) => {
    log = (log + text).slice(-CONSOLE_TAIL_BYTES);
  });
  for (;;) {
    const listening = await access(socket).then(
      () => true,
      () => false,
    );
    if (listening) return child;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
      throw new Error(`virtiofsd did not start (it must run as root here): ${log.trim()}`);
    await sleep(5);
  }
}

/**
 * Start a child that the kernel kills when this process ends, however it ends.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {import("node:child_process").StdioOptions} stdio
 */
function spawnBound(program, args, stdio) {
  // Its own process group: Ctrl-C is this process's business, which then ends the machine.
  return spawn("setpriv", ["--pdeathsig", "KILL", "--", program, ...args], {
    stdio,
    detached: true,
  });
}

/** @param {readonly string[]} paths */
async function firstExecutable(paths) {
  for (const path of paths) {
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}
