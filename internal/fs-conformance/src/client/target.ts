import type { FuseClient } from "@supermachine/fuse-server";
import type { Target } from "../target.js";
import { ClientExecutor } from "./client-executor.js";

/** A server that a client in this process talks to, without a kernel between them. */
export interface Served extends AsyncDisposable {
  readonly client: FuseClient;
}

/**
 * A file system for the suites that a FuseClient reaches.
 *
 * @param serve - Starts a server with an empty file system, and a client of it, which is closed before
 * the server is disposed of.
 */
export function clientTarget(name: string, serve: () => Promise<Served>): Target {
  return {
    name,
    lacks: ["kernel", "collapse", "same-holes", "devices", "tmpfile", "whiteout", "trusted"],
    commands: ClientExecutor.commands,
    async start() {
      const served = await serve();
      const executor = new ClientExecutor(served.client);
      return {
        run: (commands) => executor.run(commands),
        async [Symbol.asyncDispose]() {
          await executor[Symbol.asyncDispose]();
          await served[Symbol.asyncDispose]();
        },
      };
    },
  };
}
