import { type HypervisorName, rememberedChoice } from "../hypervisor/remembered.js";
import type { HypervisorKind } from "../machine/config.js";
import { type MachineStarter, prepareInline, prepareMachine } from "../machine/starter.js";

/** What runs the guest, and a machine that is getting ready in this process. */
export interface PreparedRun {
  readonly hypervisor: HypervisorKind;
  readonly cpus: number;
  readonly starter: MachineStarter;
}

/** Options of `run` that stand without a value; every other one takes the next argument. */
const SWITCHES = /^(-[dit]+|--(detach|interactive|tty|rm|console))$/;
const DETACH = /^(-[it]*d[it]*|--detach)$/;

/** The values of options before the image's name, by name. */
function optionValues(args: readonly string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? "";
    if (!arg.startsWith("-") || arg === "--") break;
    const [name = arg, value] = arg.split("=", 2);
    if (value !== undefined) values.set(name, value);
    else if (SWITCHES.test(arg)) values.set(arg, "");
    else values.set(arg, args[++at] ?? "");
  }
  return values;
}

/**
 * Gets a machine ready before the command line is parsed, when the options look as if one will run
 * on KVM. A guess: whoever has parsed them uses it only if it fits.
 */
export function prepareEarly(args: readonly string[]): PreparedRun | undefined {
  if (args[0] !== "run" || args.includes("--help")) return undefined;
  const values = optionValues(args.slice(1));
  // A machine that is to outlive this process has its own.
  if ([...values.keys()].some((name) => DETACH.test(name))) return undefined;
  const wanted = values.get("--hypervisor") ?? "auto";
  const cpus = Number(values.get("--cpus") ?? values.get("-c") ?? 1);
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 16) return undefined;
  const isKvm = wanted === "kvm" || (wanted === "auto" && rememberedChoice() === "kvm");
  return isKvm ? { hypervisor: "kvm", cpus, starter: prepareInline("kvm", cpus) } : undefined;
}

/** A machine for the flags as parsed: the one that was prepared early, or a new one. */
export async function prepareRun(
  flags: { hypervisor: HypervisorName; cpus: number; detach: boolean },
  early: PreparedRun | undefined,
): Promise<PreparedRun> {
  const { chooseHypervisor } = await import("../hypervisor/choice.js");
  const { name, notice } = await chooseHypervisor(flags.hypervisor);
  if (notice !== undefined) process.stderr.write(`supermachine: ${notice}\n`);
  const { cpus, detach: detached } = flags;
  if (!detached && early?.hypervisor === name && early.cpus === cpus) return early;
  early?.starter[Symbol.dispose]();
  const placement = { isolation: detached ? "process" : "inline", detached } as const;
  return { hypervisor: name, cpus, starter: await prepareMachine(placement, name, cpus) };
}
