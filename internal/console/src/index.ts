/**
 * What a machine tells when it ends, whatever ran it: the reason and the last lines of its console.
 * Private: bundled into the packages that use it.
 *
 * @packageDocumentation
 */
export { ConsoleLog } from "./console-log.js";
export type { MachineExit, MachineExitReason } from "./machine-exit.js";
