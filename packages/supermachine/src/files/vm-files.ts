import { lstat, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { type FileOptions, GuestFileError, GuestFiles } from "@supermachine/guest";
import { SupermachineError } from "../errors.js";
import { type CopyPlace, keepEnd, type PathKind, planCopy } from "./copy-plan.js";
import { pathBytes } from "./host-directory.js";
import { packHost } from "./host-pack.js";
import { unpackToHost } from "./host-unpack.js";
import { pour } from "./pour.js";

/** Options of {@link VmFiles.upload} and {@link VmFiles.download}. */
export interface CopyOptions {
  /**
   * Keeps owners, by their numbers, and set-id bits. Otherwise the copy belongs to `user` in the guest,
   * and to the caller on the host, where it then gets no set-id bits.
   */
  readonly archive?: boolean;
  /** Copies what the source names, where that is a symbolic link. Default false: the link. */
  readonly followSymlink?: boolean;
  /** As whom the guest's files are read or made: see {@link FileOptions}. */
  readonly user?: string;
  readonly signal?: AbortSignal;
  /** Is told of what the host cannot be given: devices and FIFOs. */
  readonly onSkipped?: (path: string, type: string) => void;
}

/**
 * The files of a machine: all of {@link GuestFiles}, and copies between guest and host. They work in
 * images without any program.
 */
export class VmFiles extends GuestFiles {
  /**
   * Copies a file or a directory of the host into the guest, by the rules of `docker cp`: into a
   * directory that exists under its own name, otherwise as what the destination names; with `/.` at its
   * end a directory's content. What was copied before a failure stays.
   *
   * @throws {@link SupermachineError} ERR_COPY_DESTINATION, ERR_COPY_HOST; and as {@link GuestFiles}
   *   does.
   */
  async upload(hostPath: string, guestPath: string, options: CopyOptions = {}): Promise<void> {
    const { archive = false, followSymlink = false } = options;
    const inGuest = guestOptions(options);
    const source = await hostPlace(hostPath, followSymlink);
    if (source.kind === "missing") {
      throw new SupermachineError(
        "ERR_COPY_HOST",
        `cannot read ${hostPath}: there is no such file`,
      );
    }
    const { directory, name } = planCopy(source, await this.#place(guestPath, true, inGuest));
    const unpacking = this.unpack(directory, { ...inGuest, keepOwners: archive });
    await pour(packHost(hostPath, name, { followSymlink }), unpacking);
  }

  /**
   * Copies a file or a directory of the guest to the host, by the same rules. The guest may be hostile:
   * it can write nothing but what was asked for, where it was asked for.
   *
   * @throws {@link SupermachineError} ERR_COPY_DESTINATION, ERR_COPY_HOST, ERR_COPY_ARCHIVE; and as
   *   {@link GuestFiles} does.
   */
  async download(guestPath: string, hostPath: string, options: CopyOptions = {}): Promise<void> {
    const { archive = false, followSymlink = false, onSkipped } = options;
    const inGuest = guestOptions(options);
    const source = await this.#place(guestPath, followSymlink, inGuest);
    if (source.kind === "missing") await this.stat(guestPath, inGuest);
    const { directory, name } = planCopy(source, await hostPlace(hostPath, true));
    await unpackToHost(this.pack(guestPath, name, { ...inGuest, followSymlink }), directory, {
      root: name,
      keepOwners: archive,
      ...(onSkipped === undefined ? {} : { onSkipped }),
    });
  }

  async #place(path: string, followSymlinks: boolean, options: FileOptions): Promise<CopyPlace> {
    try {
      const { type } = await this.stat(path, { ...options, followSymlinks });
      return { path, kind: type === "directory" ? "directory" : "other" };
    } catch (error) {
      if (!(error instanceof GuestFileError && error.errno === "ENOENT")) throw error;
      return { path, kind: "missing" };
    }
  }
}

function guestOptions({ user, signal }: CopyOptions): FileOptions {
  return {
    ...(user === undefined ? {} : { user }),
    ...(signal === undefined ? {} : { signal }),
  };
}

async function hostPlace(path: string, follow: boolean): Promise<CopyPlace> {
  let kind: PathKind;
  try {
    const st = await (follow ? stat : lstat)(pathBytes(path));
    kind = st.isDirectory() ? "directory" : "other";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      const { message } = error as Error;
      throw new SupermachineError("ERR_COPY_HOST", message, { cause: error });
    }
    kind = "missing";
  }
  return { path: keepEnd(resolve(path), path), kind };
}
