import type { ErofsFile, ErofsInode, ErofsNode, ErofsReader } from "../src/index.js";

/** Everything observable about one path, in a form that can be compared. */
export interface Listed {
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly mtimeNsec: number;
  readonly nlink: number;
  readonly xattrs: Record<string, string>;
  /** Content in hex, link target, or device numbers. */
  readonly content: string;
  /** The first path with the same inode. */
  readonly sameAs: string;
}

const hexed = (xattrs: Iterable<readonly [string, Uint8Array]>) =>
  Object.fromEntries(
    [...xattrs]
      .map(([name, value]): [string, string] => [name, Buffer.from(value).toString("hex")])
      .sort(),
  );

/** Lists a tree as it was handed to the writer. */
export function listTree(
  root: ErofsNode,
  contentOf: (file: ErofsFile) => Uint8Array,
): Map<string, Listed> {
  const links = new Map<ErofsNode, number>();
  const paths: [string, ErofsNode][] = [];
  const visit = (path: string, node: ErofsNode) => {
    links.set(node, (links.get(node) ?? 0) + 1);
    paths.push([path, node]);
    if (node.type !== "directory") return;
    for (const [name, child] of node.entries) visit(`${path}/${name}`, child);
  };
  visit("", root);
  paths.sort(([a], [b]) => (a < b ? -1 : 1));
  const first = new Map<ErofsNode, string>();
  const listing = new Map<string, Listed>();
  for (const [path, node] of paths) {
    if (!first.has(node)) first.set(node, path);
    const subdirectories =
      node.type === "directory"
        ? [...node.entries.values()].filter(({ type }) => type === "directory").length
        : 0;
    let content = "";
    if (node.type === "file") content = Buffer.from(contentOf(node)).toString("hex");
    if (node.type === "symlink") content = node.target;
    if (node.type === "character-device" || node.type === "block-device") {
      content = `${node.major}:${node.minor}`;
    }
    listing.set(path, {
      type: node.type,
      mode: node.mode,
      uid: node.uid,
      gid: node.gid,
      mtime: node.mtime,
      mtimeNsec: node.mtimeNsec ?? 0,
      nlink: node.type === "directory" ? 2 + subdirectories : (links.get(node) ?? 0),
      xattrs: hexed(node.xattrs ?? []),
      content,
      sameAs: first.get(node) ?? path,
    });
  }
  return listing;
}

/** Lists an image through the reader; gives up at `limit` paths, as a hostile image may have loops. */
export async function listImage(
  reader: ErofsReader,
  limit = Number.POSITIVE_INFINITY,
): Promise<Map<string, Listed>> {
  const paths: [string, ErofsInode][] = [];
  const pending: [string, ErofsInode][] = [["", await reader.root()]];
  for (let next = pending.pop(); next && paths.length < limit; next = pending.pop()) {
    paths.push(next);
    const [path, inode] = next;
    if (inode.type !== "directory") continue;
    for await (const entry of reader.readdir(inode)) {
      pending.push([`${path}/${entry.name}`, await reader.inode(entry.nid)]);
      if (pending.length > limit) break;
    }
  }
  paths.sort(([a], [b]) => (a < b ? -1 : 1));
  const first = new Map<number, string>();
  const listing = new Map<string, Listed>();
  for (const [path, inode] of paths) {
    if (!first.has(inode.nid)) first.set(inode.nid, path);
    const { type, mode, uid, gid, mtime, mtimeNsec, nlink } = inode;
    let content = "";
    if (type === "file") content = Buffer.from(await reader.readFile(inode)).toString("hex");
    if (type === "symlink") content = await reader.readlink(inode);
    if (type === "character-device" || type === "block-device") {
      content = `${inode.major}:${inode.minor}`;
    }
    const xattrs = hexed(await reader.xattrs(inode));
    const sameAs = first.get(inode.nid) ?? path;
    listing.set(path, { type, mode, uid, gid, mtime, mtimeNsec, nlink, xattrs, content, sameAs });
  }
  return listing;
}
