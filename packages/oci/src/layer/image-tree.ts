import type {
  ErofsDevice,
  ErofsDirectory,
  ErofsFile,
  ErofsSpecial,
  ErofsSymlink,
} from "@supermachine/erofs";
import { encodeName } from "@supermachine/erofs";
import { OciError } from "../errors.js";

/** A regular file, and where its content is. */
export interface TreeFile extends ErofsFile {
  /** The layer with the content, and the number of the entry in it. */
  readonly source: { readonly layer: number; readonly entry: number };
}

/** A directory whose entries change as layers are applied. */
export interface TreeDirectory extends ErofsDirectory {
  entries: Map<string, TreeNode>;
}

/** A node of a file system being put together from layers. */
export type TreeNode = TreeFile | TreeDirectory | ErofsSymlink | ErofsDevice | ErofsSpecial;

/** Attributes of a directory that no layer describes. */
const implied = { mode: 0o755, uid: 0, gid: 0 } as const;
/** As the kernel follows no more than 40 symlinks in a path. */
const MAX_SYMLINKS = 40;
/** Names passed on the way of one path, those in symlinks included; bounds the work of hostile ones. */
const MAX_STEPS = 4096;
const PATH_MAX = 4096;

function badPath(path: string, why: string): OciError {
  return new OciError(
    "ERR_OCI_BAD_LAYER_PATH",
    `the layer entry ${JSON.stringify(path.slice(0, 500))} ${why}; the layer is damaged or hostile`,
  );
}

/**
 * The names a layer's path consists of. A leading `/` and `.` mean the root, as to other unpackers;
 * `..` is refused, since no tool that makes layers writes it.
 */
export function splitPath(path: string): string[] {
  if (encodeName(path).length >= PATH_MAX)
    throw badPath(path, `has more than ${PATH_MAX - 1} bytes`);
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  for (const name of names) {
    if (name === "..") throw badPath(path, "has .. in its path");
    if (name.includes("\0")) throw badPath(path, "has a NUL in its path");
    if (encodeName(name).length > 255) throw badPath(path, "has a name of more than 255 bytes");
  }
  return names;
}

/** The merged file system of the layers applied so far. */
export class ImageTree {
  readonly root: TreeDirectory;
  /** The names the current layer has put somewhere; its whiteouts do not hide them. */
  #fresh = new Map<TreeDirectory, Set<string>>();

  constructor() {
    this.root = { ...implied, type: "directory", mtime: 0, entries: new Map() };
  }

  /** Begins a layer above those applied so far. */
  beginLayer(): void {
    this.#fresh = new Map();
  }

  /** Puts a node of the current layer at a name, in place of what was there. */
  put(parent: TreeDirectory, name: string, node: TreeNode): void {
    parent.entries.set(name, node);
    const names = this.#fresh.get(parent);
    if (names === undefined) this.#fresh.set(parent, new Set([name]));
    else names.add(name);
  }

  /**
   * The directory that holds the last name of a path. Symlinks on the way are followed inside the
   * image, as if it were the root directory: a layer may write through `lib -> usr/lib` of a lower one,
   * and nothing leads out. Missing directories are made, owned by root, mode 0755 and with this mtime.
   */
  parentOf(path: string, names: readonly string[], mtime: number): TreeDirectory {
    return this.#walk(path, names, mtime) ?? this.root;
  }

  /** {@link ImageTree.parentOf} without making directories: undefined when one is not there. */
  existingParentOf(path: string, names: readonly string[]): TreeDirectory | undefined {
    return this.#walk(path, names, undefined);
  }

  /** The node at a path; a symlink at its end is not followed. Undefined when there is none. */
  find(path: string): TreeNode | undefined {
    const names = splitPath(path);
    const name = names.at(-1);
    if (name === undefined) return this.root;
    return this.existingParentOf(path, names)?.entries.get(name);
  }

  #walk(
    path: string,
    names: readonly string[],
    madeMtime: number | undefined,
  ): TreeDirectory | undefined {
    // The way down from the root, for `..` in the targets of symlinks.
    const way: TreeDirectory[] = [this.root];
    const pending = names.slice(0, -1).reverse();
    let symlinks = 0;
    let steps = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      const here = way.at(-1) ?? this.root;
      if (++steps > MAX_STEPS) throw badPath(path, "leads through too many names");
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (way.length > 1) way.pop();
        continue;
      }
      const node = here.entries.get(name);
      if (node === undefined) {
        if (madeMtime === undefined) return undefined;
        const made: TreeDirectory = {
          ...implied,
          type: "directory",
          mtime: madeMtime,
          entries: new Map(),
        };
        this.put(here, name, made);
        way.push(made);
      } else if (node.type === "directory") {
        way.push(node);
      } else if (node.type === "symlink") {
        if (++symlinks > MAX_SYMLINKS) throw badPath(path, "leads through too many symlinks");
        if (node.target.startsWith("/")) way.length = 1;
        for (const step of node.target.split("/").reverse()) pending.push(step);
      } else if (madeMtime === undefined) {
        return undefined;
      } else {
        throw badPath(path, `is below ${JSON.stringify(name)}, which is a ${node.type}`);
      }
    }
    return way.at(-1);
  }

  /**
   * Removes what lower layers put at a name, but not what the current one put there or below: whiteouts
   * count for lower layers only, wherever they stand in their own (OCI layer specification, "Whiteouts").
   */
  hide(parent: TreeDirectory, name: string): void {
    const node = parent.entries.get(name);
    if (node?.type === "directory") {
      this.hideAll(node);
      if (node.entries.size > 0) return;
    }
    if (!this.#fresh.get(parent)?.has(name)) parent.entries.delete(name);
  }

  /** Removes what lower layers put into a directory. No recursion: trees may be deep. */
  hideAll(directory: TreeDirectory): void {
    const below: { parent: TreeDirectory; name: string; node: TreeDirectory }[] = [];
    const visit = (parent: TreeDirectory) => {
      const fresh = this.#fresh.get(parent);
      for (const [name, node] of parent.entries) {
        if (node.type === "directory") below.push({ parent, name, node });
        else if (!fresh?.has(name)) parent.entries.delete(name);
      }
    };
    visit(directory);
    // The list grows while it is walked, so that children come after their parents.
    for (const { node } of below) visit(node);
    for (const { parent, name, node } of below.reverse()) {
      if (node.entries.size === 0 && !this.#fresh.get(parent)?.has(name))
        parent.entries.delete(name);
    }
  }
}
