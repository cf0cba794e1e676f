import { Session } from "@supermachine/fuse-server";
import { PosixBackend } from "@supermachine/posix-backend";
import { FsDevice } from "@supermachine/virtio";
import { SupermachineError } from "../errors.js";
import type { Share } from "./config.js";

/** A virtio-fs device that serves a host directory and owns it. */
class ShareDevice extends FsDevice {
  readonly #session: Session;
  readonly #backend: PosixBackend;

  constructor(tag: string, backend: PosixBackend) {
    const session = new Session(backend);
    super({ tag, session });
    this.#session = session;
    this.#backend = backend;
  }

  override close(): void {
    super.close();
    this.#session.close();
    this.#backend.close();
  }
}

/** @throws {@link SupermachineError} `ERR_MOUNT` when the directory cannot be shared. */
export function openShare({ tag, host, readOnly, symlinks }: Share): FsDevice {
  try {
    return new ShareDevice(tag, new PosixBackend(host, { readOnly, symlinks }));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SupermachineError("ERR_MOUNT", `cannot share ${host}: ${reason}`, { cause });
  }
}
