import {
  EEXIST,
  EINVAL,
  ENODATA,
  EOPNOTSUPP,
  ERANGE,
  nameLength,
  writeName,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "@supermachine/fuse-protocol";

const NAMESPACES = ["user.", "trusted.", "security.", "system."];

/** 0 for a name that xattr(7) allows, otherwise the negated errno. */
export function checkAttributeName(name: string): number {
  const namespace = NAMESPACES.find((each) => name.startsWith(each));
  if (namespace === undefined) return -EOPNOTSUPP;
  return name === namespace ? -EINVAL : 0;
}

/** The extended attributes of a node, with the results of xattr(7). */
export class ExtendedAttributes {
  readonly #values = new Map<string, Uint8Array>();

  set(name: string, value: Uint8Array, flags: number): number {
    const exists = this.#values.has(name);
    if ((flags & XATTR_CREATE) !== 0 && exists) return -EEXIST;
    if ((flags & XATTR_REPLACE) !== 0 && !exists) return -ENODATA;
    this.#values.set(name, Uint8Array.from(value));
    return 0;
  }

  get(name: string, value: Uint8Array): number {
    const found = this.#values.get(name);
    if (found === undefined) return -ENODATA;
    if (value.length === 0) return found.length;
    if (found.length > value.length) return -ERANGE;
    value.set(found);
    return found.length;
  }

  list(list: Uint8Array): number {
    let length = 0;
    for (const name of this.#values.keys()) length += nameLength(name) + 1;
    if (list.length === 0) return length;
    if (length > list.length) return -ERANGE;
    let at = 0;
    for (const name of this.#values.keys()) {
      at += writeName(name, list, at);
      list[at++] = 0;
    }
    return length;
  }

  remove(name: string): number {
    return this.#values.delete(name) ? 0 : -ENODATA;
  }

  /** Bytes of names and values. */
  get bytes(): number {
    let total = 0;
    for (const [name, value] of this.#values) total += name.length + value.length;
    return total;
  }
}
