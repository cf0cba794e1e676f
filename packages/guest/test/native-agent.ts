import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { AgentClient, AgentControl, ensureAgent, type VsockConnector } from "../src/index.js";

/** Ports are Unix sockets in one directory, as the agent's `--sockets` has it. */
export function directoryConnector(directory: string): VsockConnector {
  return {
    connect: (port) =>
      new Promise((resolve, reject) => {
        const socket = connect({ path: join(directory, String(port)), allowHalfOpen: false });
        socket.once("connect", () => resolve(socket.off("error", reject)));
        socket.once("error", reject);
      }),
    listen: (port, onConnection) => {
      const server = createServer(onConnection).listen(join(directory, String(port)));
      return { [Symbol.dispose]: () => server.close() };
    },
  };
}

/** The real agent as an ordinary process on this host. */
export interface NativeAgent {
  client: AgentClient;
  control: AgentControl;
  connector: VsockConnector;
  process: ChildProcess;
  /** Connections the agent has made, newest last. */
  controls: Duplex[];
  close(): Promise<void>;
}

export async function startNativeAgent(): Promise<NativeAgent> {
  const path = await ensureAgent();
  const directory = mkdtempSync(join(tmpdir(), "agent-test-"));
  const connector = directoryConnector(directory);
  const controls: Duplex[] = [];
  const recording: VsockConnector = {
    ...connector,
    listen: (port, onConnection) =>
      connector.listen(port, (stream) => {
        controls.push(stream);
        onConnection(stream);
      }),
  };
  const accepted = AgentControl.accept(recording, { timeoutMs: 10_000 });
  const process = spawn(path, ["--sockets", directory], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const ended = new Promise((resolve) => process.once("exit", resolve));
  const control = await accepted;
  return {
    client: new AgentClient(connector),
    control,
    connector,
    process,
    controls,
    close: async () => {
      control.close();
      process.kill("SIGKILL");
      await ended;
      rmSync(directory, { recursive: true });
    },
  };
}
