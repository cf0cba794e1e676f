import type { AgentError } from "./errors.js";
import type { ExecConnection, ExecHandlers } from "./exec-connection.js";
import { outputLimit, type ProcessOutput } from "./guest-process.js";

const MAX_BYTES = 64 * 1024 * 1024;

/**
 * Collects what the commands of one request write, and how each ended. Rejects with {@link AgentError} as
 * {@link GuestProcess.exited} does.
 *
 * @param maxBytes most bytes that are kept of all commands together.
 */
export function collectOutput(
  open: (handlers: ExecHandlers) => ExecConnection,
  input: string | Uint8Array | undefined,
  maxBytes = MAX_BYTES,
): Promise<ProcessOutput[]> {
  return new Promise((resolve, reject: (error: AgentError) => void) => {
    const outputs: ProcessOutput[] = [];
    let chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    let size = 0;
    const connection = open({
      started: () => {},
      output: (name, bytes) => {
        size += bytes.length;
        if (size <= maxBytes) chunks[name].push(bytes);
        else connection.close(outputLimit(maxBytes));
        return true;
      },
      exited: (status, last) => {
        const stdout = Buffer.concat(chunks.stdout);
        outputs.push({ ...status, stdout, stderr: Buffer.concat(chunks.stderr) });
        chunks = { stdout: [], stderr: [] };
        if (last) resolve(outputs);
      },
      failed: reject,
    });
    if (input === undefined) return;
    // A process may end without reading all of it; that is no failure of the request.
    if (input.length > 0) connection.write(Buffer.from(input), () => {});
    connection.end();
  });
}
