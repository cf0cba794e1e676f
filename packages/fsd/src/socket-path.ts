import { chmodSync, chownSync, lstatSync, unlinkSync } from "node:fs";
import { SystemCallError, UnixListener, UnixSocket } from "@supermachine-internal/libc";
import { FsdError } from "./error.js";

/**
 * Listens at `path`, for this user alone or also for the members of `group` (gid). Throws {@link FsdError} as
 * {@link claimSocketPath} does.
 */
export function listenAt(path: string, group?: number): UnixListener {
  claimSocketPath(path);
  let listener: UnixListener | undefined;
  try {
    listener = UnixListener.listen(path);
    if (group !== undefined) admitGroup(path, group);
    return listener;
  } catch (cause) {
    listener?.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FsdError("ERR_FSD_SOCKET", `cannot listen: ${reason}`, { cause });
  }
}

/** Lets the members of `group` connect to the socket at `path`. */
export function admitGroup(path: string, group: number): void {
  chownSync(path, -1, group);
  chmodSync(path, 0o660);
}

/**
 * Makes way at `path` for a socket to listen on: removes the one of a server that is gone, which a
 * process that was killed leaves behind. Throws {@link FsdError} `ERR_FSD_SOCKET_IN_USE` when a server
 * answers there, `ERR_FSD_SOCKET` when something else than a socket is in the way.
 */
export function claimSocketPath(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) {
    throw new FsdError("ERR_FSD_SOCKET", `${path} exists and is no socket; give another path`);
  }
  try {
    UnixSocket.connect(path).close();
  } catch (error) {
    if (error instanceof SystemCallError && error.code === "ECONNREFUSED") {
      unlinkSync(path);
      return;
    }
    throw new FsdError("ERR_FSD_SOCKET", `cannot tell who serves ${path}`, { cause: error });
  }
  throw new FsdError("ERR_FSD_SOCKET_IN_USE", `another process serves ${path}`);
}
