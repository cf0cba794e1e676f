import { Session } from "@supermachine/fuse-server";
import { PosixBackend } from "@supermachine/posix-backend";
import {
  BlockDevice,
  FileBlockBackend,
  FsDevice,
  RngDevice,
  type VirtioDevice,
  VsockDevice,
} from "@supermachine/virtio";
import { SupermachineError } from "../errors.js";
import type { MachineConfig, Share } from "./config.js";

/** A virtio-fs device that serves a host directory and owns it. */
class ShareDevice extends FsDevice {
  readonly #backend: PosixBackend;

  constructor(tag: string, backend: PosixBackend) {
    super({ tag, session: new Session(backend) });
    this.#backend = backend;
  }

  override close(): void {
    super.close();
    this.#backend.close();
  }
}

function openShare({ tag, host, readOnly, symlinks }: Share): ShareDevice {
  try {
    return new ShareDevice(tag, new PosixBackend(host, { readOnly, symlinks }));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SupermachineError("ERR_MOUNT", `cannot share ${host}: ${reason}`, { cause });
  }
}

/** The read-only disk that holds the image's file tree. */
export function openRootDisk(path: string): BlockDevice {
  return new BlockDevice({ backend: FileBlockBackend.open(path, { readOnly: true }) });
}

export function createEntropySource(): RngDevice {
  return new RngDevice();
}

/** The devices that every machine serves from this process: its vsock and its shares. */
export function openHostDevices(config: MachineConfig): {
  vsock: VsockDevice;
  shares: VirtioDevice[];
} {
  const vsock = new VsockDevice();
  const shares: VirtioDevice[] = [];
  try {
    for (const share of config.shares) shares.push(openShare(share));
    return { vsock, shares };
  } catch (error) {
    for (const device of [vsock, ...shares]) device.close();
    throw error;
  }
}
