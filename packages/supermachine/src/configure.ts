import { realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { ensureInitramfs, ensureKernel, kernelCommandLine } from "@supermachine/guest";
import type { StoredImage } from "@supermachine/oci/image-store";
import { SupermachineError } from "./errors.js";
import type {
  DaxPolicy,
  HypervisorKind,
  MachineConfig,
  MainCommandConfig,
  Share,
} from "./machine/config.js";
import type { MainCommand, VmOptions } from "./vm-options.js";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_MEMORY_MIB = 256;
/** The most of any machine here. */
const MAX_CPUS = 16;
const BOOT_TIMEOUT_MS = { kvm: 30_000, qemu: 120_000 };

/** @throws {@link SupermachineError} ERR_OPTION. */
export function checkCpus(cpus: number): void {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= MAX_CPUS) return;
  throw new SupermachineError("ERR_OPTION", `${cpus} CPUs: give a whole number 1 to ${MAX_CPUS}`);
}

/** Turns what the caller wants into what a machine is built from. Builds the kernel on first use. */
export async function configureMachine(
  options: VmOptions,
  image: StoredImage,
  hypervisor: HypervisorKind,
): Promise<MachineConfig> {
  const { mounts = [], signal, onNotice } = options;
  // Built on first use, which takes minutes: say so, and stop when told.
  const building = {
    ...(signal === undefined ? {} : { signal }),
    ...(onNotice === undefined ? {} : { onProgress: onNotice }),
  };
  const shares: Share[] = mounts.map(
    ({ host, guest, readOnly, symlinks, cache, dax, daxWindowMiB = 256 }, index) => {
      if (!guest.startsWith("/")) {
        throw new SupermachineError("ERR_OPTION", `${guest}: give an absolute path in the guest`);
      }
      return {
        tag: `share${index}`,
        host: resolve(host),
        readOnly: readOnly ?? false,
        symlinks: symlinks ?? "opaque",
        cache: cache ?? "auto",
        dax: daxPolicy(dax ?? false, guest, hypervisor),
        daxWindowMiB: checkedWindow(daxWindowMiB),
      };
    },
  );
  const hostname = options.hostname ?? image.name.replace(/[^A-Za-z0-9-]+/g, "-").slice(0, 63);
  const kernel = await ensureKernel(building);
  const initrd = await ensureInitramfs(building);
  return {
    memoryMiB: options.memoryMiB ?? DEFAULT_MEMORY_MIB,
    cpus: options.cpus ?? 1,
    kernel,
    initrd,
    provenance: {
      image: { name: image.name, digest: image.digest },
      guest: guestIdentity(kernel, initrd),
      env: machineEnvironment(options, image),
    },
    rootfs: image.rootfsPath,
    shares,
    hostname,
    ...(options.command === undefined
      ? {}
      : { command: mainCommand(options.command, image, machineEnvironment(options, image)) }),
    bootTimeoutMs: options.bootTimeoutMs ?? BOOT_TIMEOUT_MS[hypervisor],
    commandLine: kernelCommandLine({
      root: "/dev/vda",
      console: "ttyS0",
      hostname,
      shares: shares.map(({ tag, readOnly, dax }, index) => ({
        tag,
        path: mounts[index]?.guest ?? "/",
        readOnly,
        // Without an option Linux maps the files that the host marks.
        dax: dax === "always",
      })),
      // A triple fault would look like a crash; QEMU's microvm has no keyboard controller.
      reset: hypervisor === "kvm" ? "keyboard-controller" : "triple-fault",
    }),
  };
}

/**
 * Names a guest's kernel and initial RAM disk. Both lie in directories that are named after all they are
 * built from, so neither needs to be read, and the same release has the same on every host.
 */
export function guestIdentity(kernel: string, initrd: string): string {
  const identify = (path: string) => {
    const real = realpathSync(path);
    return `${basename(dirname(real))}/${basename(real)}:${statSync(real).size}`;
  };
  return `${identify(kernel)} ${identify(initrd)}`;
}

/** What every command in the machine finds in its environment. */
export function machineEnvironment(
  { env }: VmOptions,
  image: Pick<StoredImage, "config">,
): Record<string, string> {
  return { PATH: DEFAULT_PATH, ...image.config.env, ...env };
}

function mainCommand(
  { argv, timeoutMs, ...command }: MainCommand,
  { config }: StoredImage,
  env: Record<string, string>,
): MainCommandConfig {
  if (argv.length === 0) {
    throw new SupermachineError("ERR_OPTION", "the machine's command is empty: name a program");
  }
  const { cwd = config.workdir, user = config.user } = command;
  return {
    argv,
    env,
    ...(cwd ? { cwd } : {}),
    ...(user ? { user } : {}),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

function checkedWindow(daxWindowMiB: number): number {
  if (daxWindowMiB >= 2 && daxWindowMiB <= 65_536 && daxWindowMiB % 2 === 0) return daxWindowMiB;
  throw new SupermachineError(
    "ERR_OPTION",
    `a DAX window of ${daxWindowMiB} MiB: give a multiple of 2 from 2 to 65536`,
  );
}

/** QEMU 7.2 has no requests of vhost-user with which its process could be asked to map files. */
function daxPolicy(dax: boolean | "auto", guest: string, hypervisor: HypervisorKind): DaxPolicy {
  if (dax === false || (dax === "auto" && hypervisor === "qemu")) return "never";
  if (dax === "auto") return "inode";
  if (hypervisor !== "qemu") return "always";
  throw new SupermachineError(
    "ERR_DAX_UNAVAILABLE",
    `the mount on ${guest} asks for DAX, which a guest under QEMU cannot have; use dax: "auto" to do without there`,
  );
}
