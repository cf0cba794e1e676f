import type { VmDescription } from "../machine/description.js";
import { Vm } from "../vm.js";
import { ago, table } from "./table.js";

/** What a machine says of itself, or why it does not. */
type State = "running" | "paused" | "not answering" | "starting";

interface Row extends VmDescription {
  readonly status: State;
}

async function stateOf({ id }: VmDescription): Promise<State | undefined> {
  try {
    const vm = await Vm.connect(id);
    try {
      const { status, answering } = await vm.health();
      if (status === "running") return answering ? "running" : "not answering";
      return status === "stopped" ? undefined : status;
    } finally {
      vm.close();
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // It has ended in the meantime.
    if (code === "ERR_VM_NOT_FOUND" || code === "ERR_VM_STOPPED") return undefined;
    return "not answering";
  }
}

async function rows(descriptions: readonly VmDescription[]): Promise<Row[]> {
  const found = await Promise.all(
    descriptions.map(async (description) => ({ description, status: await stateOf(description) })),
  );
  return found.flatMap(({ description, status }) =>
    status === undefined ? [] : [{ ...description, status }],
  );
}

/** `supermachine ps` */
export async function listMachines(flags: { quiet: boolean; json: boolean }): Promise<void> {
  const descriptions = await Vm.list();
  if (flags.quiet) {
    process.stdout.write(descriptions.map(({ id }) => `${id}\n`).join(""));
    return;
  }
  const machines = await rows(descriptions);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(machines, null, 2)}\n`);
    return;
  }
  const lines = machines.map(({ id, name, image, command, status, createdAt }) => {
    const program = command === undefined ? "" : JSON.stringify(command.join(" ").slice(0, 30));
    return [id, image.name, program, ago(Date.now() - createdAt), status, name];
  });
  process.stdout.write(
    table([["MACHINE ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAME"], ...lines]),
  );
}

/** `supermachine inspect` */
export async function inspectMachines(names: readonly string[]): Promise<void> {
  const found = await Promise.all(
    names.map(async (name) => {
      const vm = await Vm.connect(name);
      try {
        const { status, answering, latencyMs } = await vm.health();
        const createdAt = new Date(vm.description.createdAt).toISOString();
        return { ...vm.description, createdAt, status, answering, latencyMs };
      } finally {
        vm.close();
      }
    }),
  );
  process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
}
