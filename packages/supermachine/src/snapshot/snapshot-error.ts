import { SupermachineError } from "../errors.js";

const PREFIX = "ERR_VMM_SNAPSHOT_";

/** Runs a step about snapshots: what the machine's layer says of them gets the code of this package. */
export async function withSnapshotErrors<T>(step: () => T | Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (typeof code !== "string" || !code.startsWith(PREFIX)) throw error;
    const { message } = error as Error;
    throw new SupermachineError(code.replace(PREFIX, "ERR_SNAPSHOT_"), message, { cause: error });
  }
}

/** Whether a snapshot was refused, and starting without it may help. */
export function isSnapshotError(error: unknown): error is SupermachineError {
  return error instanceof SupermachineError && error.code.startsWith("ERR_SNAPSHOT_");
}
