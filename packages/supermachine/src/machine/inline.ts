import { randomBytes } from "node:crypto";
import type { MachineConfig } from "./config.js";
import { currentPlace, type VmParameters } from "./description.js";
import { type BareMachineStarter, type HostOptions, MachineHost } from "./host.js";
import { MachineRecord } from "./record.js";
import type { StartedMachine } from "./starter.js";

/** Starts a machine in this process. One without a name is this process's own affair: no files are made. */
export async function startInline(
  config: MachineConfig,
  vm: VmParameters,
  start: BareMachineStarter,
  options: HostOptions,
): Promise<StartedMachine> {
  if (vm.name === undefined) {
    const id = randomBytes(6).toString("hex");
    const description = { name: id, ...vm, id, ...currentPlace(), createdAt: Date.now() };
    const machine = await MachineHost.start(config, start, new MachineRecord(), options);
    return { machine, description };
  }
  const { MachineService } = await import("./service.js");
  const service = await MachineService.open();
  try {
    const description = await service.register(vm);
    const machine = await MachineHost.start(config, start, service.record, options);
    await service.serve(machine);
    void service.released.then(() => service.close());
    return { machine, description };
  } catch (error) {
    await service.close();
    throw error;
  }
}
