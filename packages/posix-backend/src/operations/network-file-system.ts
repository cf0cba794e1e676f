import { fstatfs } from "../platform/host.js";
import { statfsStruct } from "../syscalls/structs.js";

/** Of linux/magic.h: NFS, SMB, CIFS, SMB2, Ceph, 9p, AFS, Coda and FUSE. */
const networkTypes: ReadonlySet<bigint> = new Set([
  0x6969n,
  0x517bn,
  0xff534d42n,
  0xfe534d42n,
  0x00c36400n,
  0x01021997n,
  0x5346414fn,
  0x73757245n,
  0x65735546n,
]);

/** Whether `fd` is of a file system that a server elsewhere keeps: it may report a failed write at close(2). */
export function isNetworkFileSystem(fd: number): boolean {
  const bytes = new Uint8Array(statfsStruct.size);
  return fstatfs(fd, bytes) === 0 && networkTypes.has(statfsStruct.decode(bytes).f_type);
}
