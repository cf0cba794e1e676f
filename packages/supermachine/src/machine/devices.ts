import { FuseServer } from "@supermachine/fuse-server";
import { PosixBackend } from "@supermachine/posix-backend";
import {
  BlockDevice,
  FileBlockBackend,
  FsDevice,
  RngDevice,
  VsockDevice,
} from "@supermachine/virtio";
import { SupermachineError } from "../errors.js";
import type { Share } from "./config.js";

/** The guest's address on its vsock; every machine has its own socket, so all can use the same. */
export const GUEST_CID = 3;

/** A virtio-fs device that serves a host directory; closing it closes the directory. */
export function openShare(share: Share): FsDevice {
  let backend: PosixBackend;
  try {
    backend = new PosixBackend(share.host, {
      readOnly: share.readOnly,
      symlinks: share.symlinks,
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SupermachineError(
      "ERR_MOUNT",
      `cannot share ${share.host}: ${reason}; give an existing directory that you may read`,
      { cause },
    );
  }
  return new FsDevice({ tag: share.tag, session: new FuseServer(backend) });
}

/** The read-only disk that holds the image's file tree. */
export function openRootDisk(path: string): BlockDevice {
  return new BlockDevice(FileBlockBackend.open(path, { readOnly: true }));
}

export function createVsock(): VsockDevice {
  return new VsockDevice({ guestCid: GUEST_CID });
}

export function createEntropySource(): RngDevice {
  return new RngDevice();
}
