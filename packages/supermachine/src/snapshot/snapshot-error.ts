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
