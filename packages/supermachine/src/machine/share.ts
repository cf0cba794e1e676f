import { opcodeName } from "@supermachine/fuse-protocol";
import { Session } from "@supermachine/fuse-server";
import type { FileWindow } from "@supermachine/hypervisor";
import { DaxBackend, PosixBackend } from "@supermachine/posix-backend";
import { type CacheWindow, FsDevice } from "@supermachine/virtio";
import { SupermachineError } from "../errors.js";
import type { Share } from "./config.js";
import { decodeShareState, encodeShareState } from "./share-state.js";

/**
 * Under the policy `inode`, smaller files are read: mapping takes a request as well, and one of the
 * window's 2 MiB ranges.
 */
const DAX_MIN_FILE_SIZE = 64 << 10;

/** A virtio-fs device that serves a host directory and owns it. */
class ShareDevice extends FsDevice {
  readonly #session: Session;
  readonly #backend: PosixBackend;
  readonly #window: FileWindow | undefined;

  /** Takes over `backend`, and `window` if the backend maps files into it. */
  constructor(tag: string, backend: PosixBackend, window?: FileWindow) {
    const session = new Session(backend);
    const repair = () => backend instanceof DaxBackend && backend.repair();
    super({ tag, session, opcodeName, cacheWindow: window && cacheOf(window, repair) });
    this.#session = session;
    this.#backend = backend;
    this.#window = window;
  }

  /** What the client holds: it goes on with the same nodes and open files after a restore. */
  saveState(): Uint8Array {
    if (this.#backend instanceof DaxBackend && this.#backend.mappingCount > 0) {
      throw new SupermachineError(
        "ERR_SNAPSHOT_UNSUPPORTED",
        "the guest has files of a share mapped by DAX, which no snapshot can keep: mount it without dax",
      );
    }
    return encodeShareState(this.#session.info, this.#backend.saveNodes());
  }

  restoreState(state: Uint8Array | undefined): void {
    // The machine may have run before: nothing that was opened or mapped since is its guest's any more.
    this.#session.reset();
    if (state === undefined) return;
    const { info, nodes } = decodeShareState(state);
    if (info === undefined) return;
    this.#session.adopt(info);
    this.#backend.restoreNodes(nodes);
  }

  override close(): void {
    super.close();
    this.#session.close();
    this.#backend.close();
    this.#window?.close();
  }
}

function cacheOf(window: FileWindow, repair: () => boolean): CacheWindow {
  const { hostAddress, length } = window;
  return {
    hostAddress,
    length,
    repair,
    read: (offset, target) => window.read(offset, target),
    write: (offset, source) => window.write(offset, source),
  };
}

/**
 * Without `createWindow` the guest maps no files, whatever the share's policy says.
 *
 * @throws {@link SupermachineError} `ERR_MOUNT` when the directory cannot be shared.
 */
export function openShare(share: Share, createWindow?: (size: number) => FileWindow): FsDevice {
  const { tag, host, readOnly, symlinks, cache, dax, daxWindowMiB } = share;
  const options = { readOnly, symlinks, cache };
  let window: FileWindow | undefined;
  try {
    if (dax === "never" || createWindow === undefined) {
      return new ShareDevice(tag, new PosixBackend(host, options));
    }
    window = createWindow(daxWindowMiB * 2 ** 20);
    const daxMinFileSize = dax === "always" ? 0 : DAX_MIN_FILE_SIZE;
    return new ShareDevice(
      tag,
      new DaxBackend(host, window, { ...options, daxMinFileSize }),
      window,
    );
  } catch (cause) {
    window?.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SupermachineError("ERR_MOUNT", `cannot share ${host}: ${reason}`, { cause });
  }
}
