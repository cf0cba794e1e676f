import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { SupermachineError } from "../../errors.js";
import { JsonLines } from "./json-lines.js";
import { CONTROL_VERSION, isGreeting } from "./protocol.js";

const GREETING_TIMEOUT_MS = 5_000;

/** A connection to a machine's process, which has greeted. */
export interface ControlConnection {
  readonly socket: Socket;
  /** What the process sends from now on; ends when the connection does, however that comes. */
  readonly values: AsyncGenerator<unknown, void, undefined>;
}

/**
 * Connects to the process whose runtime directory this is.
 *
 * @throws SupermachineError ERR_VM_STOPPED, ERR_VM_TIMEOUT, ERR_VM_PROTOCOL.
 */
export async function dial(directory: string): Promise<ControlConnection> {
  const socket = connect(join(directory, "control"));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    socket.destroy();
  }, GREETING_TIMEOUT_MS);
  try {
    const values = jsonValues(socket, directory);
    const { value: greeting, done } = await values.next();
    if (late) {
      throw new SupermachineError(
        "ERR_VM_TIMEOUT",
        `the machine's process did not answer within ${GREETING_TIMEOUT_MS} ms; kill it if it never does`,
      );
    }
    if (done) throw new SupermachineError("ERR_VM_STOPPED", "the machine has ended");
    if (!isGreeting(greeting)) throw foreignProcess(directory);
    return { socket, values };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function* jsonValues(
  socket: Socket,
  directory: string,
): AsyncGenerator<unknown, void, undefined> {
  const complete: unknown[] = [];
  const lines = new JsonLines((value) => complete.push(value));
  try {
    for await (const bytes of socket) {
      lines.push(bytes);
      yield* complete.splice(0);
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw foreignProcess(directory, error);
    // Whoever waits for more learns that there is none.
  }
}

export function foreignProcess(directory: string, cause?: Error): SupermachineError {
  return new SupermachineError(
    "ERR_VM_PROTOCOL",
    `${directory} belongs to a process that does not speak version ${CONTROL_VERSION} of the control protocol: use the supermachine that started it`,
    { cause },
  );
}
