import { connect } from "node:net";
import { QemuError } from "./error.js";

/*
 * The QEMU Machine Protocol: JSON values one a line over a Unix socket. QEMU greets, takes commands after
 * `qmp_capabilities`, and answers each with `return` or `error`; events come in between.
 * https://www.qemu.org/docs/master/interop/qmp-spec.html
 */

const TIMEOUT_MS = 5_000;
/** QEMU is trusted, but a guest that has taken it over is not: no answer here is long. */
const MAX_LENGTH = 1 << 20;

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc?: unknown };
}

/**
 * Has the QEMU that listens on `socketPath` execute one command without arguments, such as `stop`.
 *
 * @throws {@link QemuError} ERR_QEMU_CONTROL when QEMU refuses, or does not answer within 5 seconds.
 */
export async function executeQmp(socketPath: string, command: string): Promise<void> {
  const socket = connect(socketPath).setEncoding("utf8");
  const timer = setTimeout(() => {
    socket.destroy(new Error(`it did not answer within ${TIMEOUT_MS} ms`));
  }, TIMEOUT_MS);
  try {
    const execute = (name: string) => socket.write(`${JSON.stringify({ execute: name })}\n`);
    execute("qmp_capabilities");
    execute(command);
    let answers = 0;
    let text = "";
    for await (const received of socket) {
      text += received;
      if (text.length > MAX_LENGTH) break;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const answer: Answer = JSON.parse(line);
        if (answer.error !== undefined) throw new Error(String(answer.error.desc));
        if ("return" in answer) answers += 1;
        if (answers === 2) return;
      }
    }
    throw new Error("its monitor closed");
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new QemuError("ERR_QEMU_CONTROL", `QEMU cannot execute "${command}": ${detail}`, {
      cause,
    });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
