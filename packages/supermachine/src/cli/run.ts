import { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
import { SupermachineError } from "../errors.js";
import type { HypervisorName } from "../hypervisor/remembered.js";
import { checkVmName } from "../registry.js";
import { startPrepared } from "../start.js";
import { Vm } from "../vm.js";
import type { Mount, VmOptions } from "../vm-options.js";
import { type CommandFlags, FORWARDED, reportStartError, runCommand } from "./command.js";
import { parseEnvironment } from "./environment.js";
import type { PreparedRun } from "./prepare.js";

/** The flags of `supermachine run`, as parsed. */
export interface RunFlags extends CommandFlags {
  readonly memory: number;
  readonly cpus: number;
  readonly mount: readonly string[];
  readonly hypervisor: HypervisorName;
  readonly console: boolean;
  readonly detach: boolean;
  readonly name?: string;
  /** Name of a snapshot to go on from, in place of an image. */
  readonly snapshot?: string;
}

const mountOptions = new Map<string, Partial<Mount>>([
  ["ro", { readOnly: true }],
  ["rw", { readOnly: false }],
  ["cache=none", { cache: "none" }],
  ["cache=auto", { cache: "auto" }],
  ["cache=metadata", { cache: "metadata" }],
  ["cache=always", { cache: "always" }],
  ["dax", { dax: true }],
  ["dax=auto", { dax: "auto" }],
]);

/** `HOST:GUEST` or `HOST:GUEST:ro,dax`; the guest path is absolute, so its colon is the last `:/`. */
export function parseMount(text: string): Mount {
  const match = /^(?<host>.+?):(?<guest>\/[^:]*)(?::(?<options>[^:]+))?$/.exec(text);
  const { host, guest, options } = match?.groups ?? {};
  const given = options?.split(",").map((option) => mountOptions.get(option)) ?? [];
  if (host === undefined || guest === undefined || given.includes(undefined)) {
    throw new SupermachineError(
      "ERR_OPTION",
      `--mount ${text}: write HOST:/GUEST or HOST:/GUEST:OPTIONS, options being ro, cache=none|auto|metadata|always, dax or dax=auto`,
    );
  }
  return Object.assign({ host, guest, readOnly: false }, ...given);
}

/** Aborts while nothing runs in the guest yet that a signal could be passed on to. */
export function abortOnSignal(): { signal: AbortSignal } & Disposable {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new SupermachineError("ERR_VM_STOPPED", "interrupted"));
  for (const signal of FORWARDED) process.on(signal, interrupt);
  return {
    signal: interrupted.signal,
    [Symbol.dispose]() {
      for (const signal of FORWARDED) process.off(signal, interrupt);
    },
  };
}

function vmOptions(image: string, flags: RunFlags, signal: AbortSignal): VmOptions {
  if (flags.name !== undefined) checkVmName(flags.name);
  const onConsole = (bytes: Uint8Array) => void process.stderr.write(bytes);
  return {
    image,
    memoryMiB: flags.memory,
    cpus: flags.cpus,
    mounts: flags.mount.map(parseMount),
    // Of the machine: commands that others run in it see it, too.
    env: parseEnvironment(flags.env),
    signal,
    onNotice: (notice: string) => void process.stderr.write(`supermachine: ${notice}\n`),
    ...(flags.console ? { onConsole } : {}),
    ...(flags.name === undefined ? {} : { name: flags.name }),
  };
}

/** The image's entry point with `command`, or with the image's own; empty if there is nothing to run. */
export function commandOf(
  { entrypoint, cmd }: StoredImage["config"],
  command: readonly string[],
): string[] {
  return [...entrypoint, ...(command.length > 0 ? command : cmd)];
}

/** `supermachine run`: returns the exit status. */
export async function run(
  image: string,
  command: readonly string[],
  flags: RunFlags,
  { hypervisor, starter }: PreparedRun,
): Promise<number> {
  using interrupted = abortOnSignal();
  const options = vmOptions(image, flags, interrupted.signal);
  await using vm = new Vm(await startPrepared(options, hypervisor, starter));
  try {
    const argv = commandOf(vm.image.config, command);
    if (argv.length === 0) {
      throw new SupermachineError(
        "ERR_OPTION",
        `the image ${image} names no command; give one: supermachine run ${image} -- COMMAND`,
      );
    }
    return await runCommand(vm, argv, flags, {
      started: () => interrupted[Symbol.dispose](),
      lastResort: () => void vm.kill(),
    });
  } finally {
    // Nothing in the guest outlives the command, so there is nothing to shut down in order.
    await vm.kill();
  }
}

/** `supermachine run --detach`: prints the machine's name. Without a command it runs until it is stopped. */
export async function runDetached(
  image: string,
  command: readonly string[],
  flags: RunFlags,
  { hypervisor, starter }: PreparedRun,
): Promise<number> {
  if (flags.interactive || flags.tty) {
    throw new SupermachineError(
      "ERR_OPTION",
      "--detach leaves nobody at the terminal: start the machine without -i and -t, then supermachine exec -it",
    );
  }
  using interrupted = abortOnSignal();
  const { config } = await new ImageStore().get(image);
  const argv = commandOf(config, command);
  const { workdir: cwd, user, timeout: timeoutMs } = flags;
  const main = {
    argv,
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const options = vmOptions(image, flags, interrupted.signal);
  const detached = { ...options, detached: true, ...(argv.length === 0 ? {} : { command: main }) };
  try {
    const vm = new Vm(await startPrepared(detached, hypervisor, starter));
    process.stdout.write(`${vm.name}\n`);
    vm.close();
    return 0;
  } catch (error) {
    return reportStartError(error);
  }
}
