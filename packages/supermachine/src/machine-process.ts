/**
 * The process of one machine. It lives as long as the machine and its parent: when the channel to
 * the parent closes, however the parent ended, the machine is stopped and the process ends.
 *
 * @packageDocumentation
 */
import { toPlainError } from "./errors.js";
import type { RunningMachine } from "./machine/config.js";
import type { FromMachineProcess, ToMachineProcess } from "./machine/messages.js";
import { type MachineStarter, prepareInline } from "./machine/starter.js";
import { serveVsock } from "./machine/vsock-socket.js";

let starter: MachineStarter | undefined;
let machine: RunningMachine | undefined;
let stopping = false;

function send(message: FromMachineProcess): void {
  if (process.connected) process.send?.(message);
}

async function stop(): Promise<void> {
  stopping = true;
  // Of these only one has something to end: a starter that has started left its machine in charge.
  starter?.[Symbol.dispose]();
  await machine?.stop();
  if (process.connected) process.disconnect();
}

async function start(message: Extract<ToMachineProcess, { type: "start" }>): Promise<void> {
  let served: Promise<Disposable> | undefined;
  try {
    machine = await starter?.start(message.config, {
      onVsock: (vsock) => {
        served = serveVsock(vsock, message.vsockPath, message.guestPorts);
      },
      onConsole: (bytes) => send({ type: "console", bytes }),
    });
    if (machine === undefined) throw new Error("not prepared");
    await served;
    send({ type: "started" });
    if (stopping) await machine.stop();
    send({ type: "exited", exit: await machine.exited });
  } catch (error) {
    await machine?.stop();
    send({ type: "failed", error: toPlainError(error) });
  } finally {
    (await served?.catch(() => undefined))?.[Symbol.dispose]();
    if (process.connected) process.disconnect();
  }
}

process.on("message", (message: ToMachineProcess) => {
  if (message.type === "prepare") starter = prepareInline(message.hypervisor, message.cpus);
  else void (message.type === "start" ? start(message) : stop());
});
process.on("disconnect", () => void stop());
// A terminal sends these to the whole group; the parent decides what becomes of the machine.
for (const signal of ["SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM"] as const) {
  process.on(signal, () => {});
}
