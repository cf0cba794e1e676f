/**
 * The process of one machine. It lives as long as the machine and its parent: when the channel to the
 * parent closes, however the parent ended, the machine is stopped and the process ends. A detached
 * machine needs its parent only until it is up.
 *
 * @packageDocumentation
 */
import type { HypervisorKind } from "./machine/config.js";
import { confineMachineProcess } from "./machine/confine.js";
import { MachineHost } from "./machine/host.js";
import { MachineService } from "./machine/service.js";
import type { Listening } from "./machine/spawn.js";
import { prepareBare } from "./machine/starter.js";

const [hypervisor, cpus] = process.argv.slice(2);
const prepared = prepareBare(hypervisor as HypervisorKind, Number(cpus));
const abandoned = new AbortController();
let service: MachineService | undefined;
let host: MachineHost | undefined;
let starting = false;
let detached = false;

process.on("disconnect", () => void abandon());
// A terminal sends these to the whole group; the parent decides what becomes of the machine.
for (const signal of ["SIGINT", "SIGQUIT", "SIGHUP"] as const) {
  process.on(signal, () => {});
}
// What ends a service: a machine without a parent to decide heeds it.
process.on("SIGTERM", () => void (detached ? host?.stop() : undefined));

confineMachineProcess();
service = await MachineService.open(async ({ config, vm }, record) => {
  const { signal } = abandoned;
  starting = true;
  try {
    host = await MachineHost.start(config, prepared.start, record, { signal });
  } catch (error) {
    // After the client has the error.
    setImmediate(() => void end());
    throw error;
  }
  void host.exited.then(end);
  // The parent may have gone in the meantime, with nobody else to know the machine yet.
  if (!process.connected) await abandon();
  detached = vm.detached;
  return host;
});
// A parent that has gone already, or goes now, has not been heard of or will be.
if (!process.connected) await end();
else process.send?.({ directory: service.directory } satisfies Listening, () => {});

async function end(): Promise<void> {
  prepared[Symbol.dispose]();
  await service?.close();
  process.exit();
}

async function abandon(): Promise<void> {
  if (detached) return;
  abandoned.abort();
  // A start that is given up cleans up after itself, and ends the process.
  if (host !== undefined) await host.kill();
  else if (!starting && service !== undefined) await end();
}
