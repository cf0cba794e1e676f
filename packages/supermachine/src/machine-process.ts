/**
 * The process of one machine. It lives as long as the machine and its parent: when the channel to the
 * parent closes, however the parent ended, the machine is stopped and the process ends. A detached
 * machine needs its parent only until it is up.
 *
 * @packageDocumentation
 */

import type { HypervisorKind } from "./machine/config.js";
import { confineMachineProcess } from "./machine/confine.js";
import { MachineLife } from "./machine/machine-life.js";
import { prepareBare } from "./machine/starter.js";
import { ForkDirectory } from "./snapshot/fork-directory.js";

const [hypervisor, cpus] = process.argv.slice(2);
const life = new MachineLife(prepareBare(hypervisor as HypervisorKind, Number(cpus)), {
  get isGone() {
    return !process.connected;
  },
  tell: (listening) => process.send?.(listening, () => {}),
});

process.on("disconnect", () => void life.abandon());
// A terminal sends these to the whole group; the parent decides what becomes of the machine.
for (const signal of ["SIGINT", "SIGQUIT", "SIGHUP"] as const) {
  process.on(signal, () => {});
}
// What ends a service: a machine without a parent to decide heeds it.
process.on("SIGTERM", () => void life.shutDown());
void life.ended.then(() => {
  // A parent that was killed while it forked this machine has left the copies' memory.
  if (!process.connected) ForkDirectory.removeAbandoned();
  process.exit();
});

confineMachineProcess();
await life.open();
