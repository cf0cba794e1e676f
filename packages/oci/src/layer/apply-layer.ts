import { encodeName, isStorableXattr } from "@supermachine/erofs";
import { OciError } from "../errors.js";
import type { TarHeader } from "../tar/reader.js";
import { type ImageTree, splitPath, type TreeNode } from "./image-tree.js";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** Marks AUFS left in old layers; they describe nothing. */
const AUFS_META = ".wh..wh.";

const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/**
 * The extended attributes to keep. Those of overlayfs would change how the image behaves as a layer of
 * an overlay, and those outside of Linux's namespaces (of macOS, say) no Linux file system can hold.
 */
function keptXattrs(xattrs: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  if (xattrs.size === 0) return noXattrs;
  return new Map(
    [...xattrs].filter(
      ([name]) => isStorableXattr(name) && !/^(trusted|user)\.overlay\./.test(name),
    ),
  );
}

function badEntry({ name }: TarHeader, why: string): OciError {
  return new OciError(
    "ERR_OCI_BAD_LAYER_PATH",
    `the layer entry ${JSON.stringify(name.slice(0, 500))} ${why}; the layer is damaged or hostile`,
  );
}

function inRange(
  header: TarHeader,
  field: "uid" | "gid" | "devmajor" | "devminor",
  max: number,
): number {
  const value = header[field];
  if (value >= 0 && value <= max) return value;
  throw new OciError(
    "ERR_OCI_BAD_LAYER",
    `the ${field} of ${JSON.stringify(header.name)} is ${value}, out of range`,
  );
}

/** The node an entry describes; not for hard links. */
function nodeOf(header: TarHeader, layer: number, entry: number): TreeNode {
  const common = {
    mode: header.mode,
    uid: inRange(header, "uid", 0xfffffffe),
    gid: inRange(header, "gid", 0xfffffffe),
    mtime: header.mtime,
    mtimeNsec: header.mtimeNsec,
    xattrs: keptXattrs(header.xattrs),
  };
  switch (header.type) {
    case "directory":
      return { ...common, type: "directory", entries: new Map() };
    case "symlink": {
      const { length } = encodeName(header.linkname);
      if (length === 0 || length > 4095 || header.linkname.includes("\0")) {
        throw badEntry(header, `is a symlink with a target of ${length} bytes`);
      }
      return { ...common, type: "symlink", target: header.linkname };
    }
    case "character-device":
    case "block-device":
      return {
        ...common,
        type: header.type,
        major: inRange(header, "devmajor", 0xfff),
        minor: inRange(header, "devminor", 0xfffff),
      };
    case "fifo":
      return { ...common, type: "fifo" };
    default:
      return { ...common, type: "file", size: header.size, source: { layer, entry } };
  }
}

/**
 * Applies one tar entry of a layer to the tree, as the OCI layer specification has it:
 *
 * - a directory over a directory replaces its attributes and keeps its entries; anything else over
 *   anything replaces it whole, a symlink to a directory included;
 * - `.wh.name` removes `name` and `.wh..wh..opq` all names of lower layers;
 * - a hard link makes its name the same inode as the target, which may come from a lower layer.
 *
 * Throws {@link OciError} `ERR_OCI_BAD_LAYER_PATH` or `ERR_OCI_BAD_LAYER`.
 */
export function applyEntry(tree: ImageTree, header: TarHeader, layer: number, entry: number): void {
  const names = splitPath(header.name);
  const name = names.at(-1);
  if (name === undefined) {
    if (header.type !== "directory")
      throw badEntry(header, `is a ${header.type} in place of the root directory`);
    Object.assign(tree.root, nodeOf(header, layer, entry), { entries: tree.root.entries });
    return;
  }
  if (name.startsWith(WHITEOUT)) {
    applyWhiteout(tree, header, names, name);
    return;
  }
  const node = header.type === "link" ? linkTarget(tree, header) : nodeOf(header, layer, entry);
  const parent = tree.parentOf(header.name, names, header.mtime);
  const existing = parent.entries.get(name);
  if (node.type === "directory" && existing?.type === "directory") {
    tree.put(parent, name, Object.assign(existing, node, { entries: existing.entries }));
  } else {
    tree.put(parent, name, node);
  }
}

function linkTarget(tree: ImageTree, header: TarHeader): TreeNode {
  const target = tree.find(header.linkname);
  const what = `is a hard link to ${JSON.stringify(header.linkname.slice(0, 500))}`;
  if (target === undefined) throw badEntry(header, `${what}, which is not there`);
  if (target.type === "directory") throw badEntry(header, `${what}, which is a directory`);
  return target;
}

function applyWhiteout(
  tree: ImageTree,
  header: TarHeader,
  names: readonly string[],
  name: string,
): void {
  if (name.startsWith(AUFS_META) && name !== OPAQUE) return;
  const hidden = name.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..")
    throw badEntry(header, "is a whiteout of no name");
  const parent = tree.existingParentOf(header.name, names);
  // A whiteout in a directory that is not there has nothing to hide.
  if (parent === undefined) return;
  if (name === OPAQUE) tree.hideAll(parent);
  else tree.hide(parent, hidden);
}
