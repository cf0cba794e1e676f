import { SupermachineError } from "../errors.js";
import type { HypervisorName } from "../hypervisor/remembered.js";
import { startVm } from "../vm.js";
import type { Mount } from "../vm-options.js";
import { type CommandFlags, FORWARDED, runCommand } from "./command.js";
import { parseEnvironment } from "./environment.js";
import type { PreparedRun } from "./prepare.js";

/** The flags of `supermachine run`, as parsed. */
export interface RunFlags extends CommandFlags {
  readonly memory: number;
  readonly cpus: number;
  readonly mount: readonly string[];
  readonly hypervisor: HypervisorName;
  readonly console: boolean;
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

/** `supermachine run`: returns the exit status. */
export async function run(
  image: string,
  command: readonly string[],
  flags: RunFlags,
  { hypervisor, starter }: PreparedRun,
): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new SupermachineError("ERR_VM_STOPPED", "interrupted"));
  for (const signal of FORWARDED) process.on(signal, interrupt);
  const onConsole = (bytes: Uint8Array) => void process.stderr.write(bytes);
  const options = {
    image,
    memoryMiB: flags.memory,
    cpus: flags.cpus,
    mounts: flags.mount.map(parseMount),
    // Of the machine: commands that others run in it see it, too.
    env: parseEnvironment(flags.env),
    signal: interrupted.signal,
    onNotice: (notice: string) => void process.stderr.write(`supermachine: ${notice}\n`),
    ...(flags.console ? { onConsole } : {}),
  };
  await using vm = await startVm(options, hypervisor, starter);
  try {
    const { entrypoint, cmd } = vm.image.config;
    const argv = [...entrypoint, ...(command.length > 0 ? command : cmd)];
    if (argv.length === 0) {
      throw new SupermachineError(
        "ERR_OPTION",
        `the image ${image} names no command; give one: supermachine run ${image} -- COMMAND`,
      );
    }
    return await runCommand(vm, argv, flags, {
      started: () => {
        for (const signal of FORWARDED) process.off(signal, interrupt);
      },
      lastResort: () => void vm.kill(),
    });
  } finally {
    // Nothing in the guest outlives the command, so there is nothing to shut down in order.
    await vm.kill();
  }
}
