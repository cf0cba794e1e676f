/** Saves the node table of a share, and restores it for a client that goes on with its nodes. */
import {
  decodeName,
  O_ACCMODE,
  O_APPEND,
  O_DSYNC,
  O_RDONLY,
  O_SYNC,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import { PosixBackendError } from "../error.js";
import { DirectoryReader } from "../handles/directory-reader.js";
import { ROOT_NODEID } from "../nodes/inode-table.js";
import { close, openAt, readMagicLink, reopen } from "../platform/host.js";
import type { Share } from "../share.js";
import { O_DIRECTORY, O_PATH } from "../syscalls/constants.js";
import {
  decodeNodes,
  encodeNodes,
  type SavedHandle,
  type SavedNode,
  UNKNOWN_TYPE,
  versionOf,
} from "./saved-nodes.js";
import { decodeFirstVersion } from "./saved-nodes-v1.js";

const PATH_MAX = 4096;

function rootPath(share: Share): string {
  const path = Buffer.alloc(PATH_MAX);
  const length = readMagicLink(share.procFd, share.inodes.rootFd, path);
  return decodeName(path.subarray(0, Math.max(length, 0)));
}

/** Calls `visit` with each record of a directory, which it may read nothing of. */
function listDirectory(
  share: Share,
  nodeid: number,
  visit: (reader: DirectoryReader) => void,
): void {
  const inode = share.inodes.fd(nodeid);
  const fd = inode < 0 ? inode : reopen(share.procFd, inode, O_DIRECTORY);
  if (fd < 0) return;
  const reader = new DirectoryReader(fd, false);
  for (; reader.load() > 0; reader.consume()) {
    if (!reader.isDot) visit(reader);
  }
  close(fd);
}

/** The node that the current record of a directory is, if the client holds it. */
function nodeOf(share: Share, directory: number, reader: DirectoryReader): number | undefined {
  if (!share.inodes.hasSubmounts) return share.inodes.findBeside(directory, reader.ino);
  // Where something is mounted, the record shows what is below it; and files of an overlay are on other volumes
  // than their directory, which may have the same number for another node.
  if (share.name.set(reader.name) < 0) return undefined;
  if (share.stat.readName(reader.fd, share.name.bytes) < 0) return undefined;
  return share.inodes.find(share.stat);
}

/**
 * Names are found by listing the directories that the client knows, which it does of every directory above a
 * node that it knows: so none need be kept while it runs.
 */
export function saveNodes(share: Share): Uint8Array {
  const { inodes } = share;
  const nodes: SavedNode[] = [];
  const add = (nodeid: number, parent: number, name: string) =>
    nodes.push({
      nodeid,
      type: inodes.type(nodeid),
      lookups: inodes.lookups(nodeid),
      parent,
      name,
    });
  const found = new Set([ROOT_NODEID]);
  const directories = [ROOT_NODEID];
  add(ROOT_NODEID, 0, "");
  // The list grows as directories are found.
  for (const parent of directories) {
    listDirectory(share, parent, (reader) => {
      const nodeid = nodeOf(share, parent, reader);
      if (nodeid === undefined || found.has(nodeid)) return;
      found.add(nodeid);
      add(nodeid, parent, reader.name);
      if (inodes.type(nodeid) === S_IFDIR) directories.push(nodeid);
    });
  }
  for (const nodeid of inodes.nodeids()) if (!found.has(nodeid)) add(nodeid, 0, "");

  const handles: SavedHandle[] = [];
  share.handles.forEach(({ fh, nodeid, isDirectory, flags }) => {
    if (inodes.type(nodeid) !== 0) handles.push({ fh, nodeid, isDirectory, flags });
  });
  const generationFloor = inodes.revival.nextGeneration();
  return encodeNodes({ rootPath: rootPath(share), generationFloor, nodes, handles });
}

/** Throws `PosixBackendError` `ERR_POSIX_NODES`, with nothing changed. */
export function restoreNodes(share: Share, bytes: Uint8Array): void {
  const saved = versionOf(bytes) === 1 ? decodeFirstVersion(bytes) : decodeNodes(bytes);
  const path = rootPath(share);
  if (saved.rootPath !== path) {
    throw new PosixBackendError(
      "ERR_POSIX_NODES",
      `these are saved nodes of ${saved.rootPath}, not of ${path}; share that directory`,
    );
  }
  const unfit = saved.nodes.find(({ nodeid }) => !share.inodes.revival.hasRoomFor(nodeid));
  if (unfit !== undefined) refuseNode(unfit.nodeid);
  share.reset();
  for (const { nodeid, type, lookups } of saved.nodes) {
    // Until it is found, which type it is of does not matter.
    if (!share.inodes.revival.reserve(nodeid, type || S_IFREG, lookups)) refuseNode(nodeid);
  }
  share.inodes.revival.raiseGenerations(saved.generationFloor);
  for (const node of saved.nodes) reviveNode(share, node);
  for (const handle of saved.handles) reopenHandle(share, handle);
}

function refuseNode(nodeid: number): never {
  throw new PosixBackendError(
    "ERR_POSIX_NODES",
    `there is no room for saved node ${nodeid}; share the directory with a larger maxInodes`,
  );
}

/** Looks a node up under its name, as any name of a client. What is not what it was stays gone: ESTALE. */
function reviveNode(share: Share, node: SavedNode): void {
  if (node.parent === 0) return;
  const parentFd = share.inodes.fd(node.parent);
  if (parentFd < 0 || share.name.set(node.name) < 0) return;
  const fd = openAt(parentFd, share.name.bytes, O_PATH);
  if (fd < 0) return;
  const failure = share.stat.read(fd);
  const isSaved = node.type === UNKNOWN_TYPE || (share.stat.mode & S_IFMT) === node.type;
  if (failure < 0 || !isSaved) {
    close(fd);
    return;
  }
  share.inodes.revival.revive(node.nodeid, fd, share.stat, node.parent, share.name.bytes);
}

/** A handle that cannot be opened again stays closed: EBADF. */
function reopenHandle(share: Share, handle: SavedHandle): void {
  const flags = handle.flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC);
  if (share.settings.readOnly && (flags & O_ACCMODE) !== O_RDONLY) return;
  const inode = share.inodes.fd(handle.nodeid);
  if (inode < 0 || share.handles.full) return;
  const type = share.inodes.type(handle.nodeid);
  if (!handle.isDirectory && type !== S_IFREG) return;
  const fd = reopen(share.procFd, inode, handle.isDirectory ? O_DIRECTORY : flags);
  if (fd >= 0 && !share.handles.restore({ ...handle, flags, fd })) close(fd);
}
