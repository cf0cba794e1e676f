import { AgentClient, type VsockConnector } from "@supermachine/guest";
import { type ExitResult, signalName } from "../exec-result.js";
import type { MainCommandConfig } from "./config.js";
import type { MachineRecord } from "./record.js";

/**
 * Starts a machine's own command, whose output goes to the machine's log. Resolves when it runs, with a
 * promise of how it ends.
 *
 * @throws AgentError ERR_EXEC_* when it cannot be started.
 */
export async function startMainCommand(
  vsock: VsockConnector,
  command: MainCommandConfig,
  record: MachineRecord,
  isPaused: () => Promise<boolean>,
): Promise<{ readonly ended: Promise<ExitResult> }> {
  // It outlives its connection, which does not come along into a machine that goes on from a snapshot.
  const child = new AgentClient(vsock, { isPaused }).exec({ ...command, keep: true });
  for (const source of ["stdout", "stderr"] as const) {
    child[source].on("data", (bytes: Buffer) => record.log(source, bytes));
  }
  await child.started;
  const ended = child.exited.then((status) => ({ ...status, signal: signalName(status.signal) }));
  return { ended };
}
