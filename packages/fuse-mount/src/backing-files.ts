import {
  FUSE_DEV_IOC_BACKING_CLOSE,
  FUSE_DEV_IOC_BACKING_OPEN,
  fuse_backing_map,
} from "@supermachine/fuse-protocol";
import type { BackingFiles } from "@supermachine/fuse-server";
import { lastErrno } from "@supermachine-internal/libc";
import { ioctl } from "./native.js";

/** Registers host files with the connection of a /dev/fuse descriptor, for passthrough. */
export class DeviceBackingFiles implements BackingFiles {
  readonly #fd: number;
  readonly #map = Buffer.alloc(fuse_backing_map.size);
  readonly #id = Buffer.alloc(4);

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** `-EPERM`: not root; `-ELOOP`: stacked too deep; `-EOPNOTSUPP`: not a file system for this. */
  open(fd: number): number {
    this.#map.writeInt32LE(fd, fuse_backing_map.offsets.fd);
    const id = ioctl(this.#fd, FUSE_DEV_IOC_BACKING_OPEN, "void *", this.#map);
    return id === -1 ? -lastErrno() : id;
  }

  /** Only fails for an id that is not in use. */
  close(id: number): void {
    this.#id.writeUInt32LE(id);
    ioctl(this.#fd, FUSE_DEV_IOC_BACKING_CLOSE, "void *", this.#id);
  }
}
