import type { ImageStore } from "@supermachine/oci/image-store";
import type { HypervisorName } from "./hypervisor/remembered.js";
import type { CachePolicy, SymlinkPolicy } from "./machine/config.js";
import type { Isolation } from "./machine/starter.js";

/** A host directory that the guest sees. */
export interface Mount {
  /** Host directory; relative paths start at the working directory. */
  readonly host: string;
  /** Absolute path in the guest; made when it does not exist. */
  readonly guest: string;
  /** Default false. */
  readonly readOnly?: boolean;
  /** What symbolic links in it may do. Default `opaque`: the guest resolves them, never the host. */
  readonly symlinks?: SymlinkPolicy;
  /**
   * For how long the guest trusts what it has seen, when the host changes it: not at all (`none`), a second
   * (`auto`, the default), or for ever: names and attributes (`metadata`), contents too (`always`). virtio-fs
   * cannot tell a guest of changes, so the last two are for trees that only the guest changes, or nobody.
   */
  readonly cache?: CachePolicy;
  /**
   * The guest maps the host's file pages instead of reading copies of them (DAX): what it reads takes none
   * of its memory, and memory mapped with MAP_SHARED is shared with the host. `true`: all files, or
   * `ERR_DAX_UNAVAILABLE` where QEMU runs the guest. `"auto"`: files from 64 KiB on, if possible. Default
   * false.
   */
  readonly dax?: boolean | "auto";
  /**
   * How much of the files can be mapped at a time: 2 to 65,536 MiB, a multiple of 2. It takes host memory only
   * for what is mapped, and 1/64 of its size of the guest's. Default 256.
   */
  readonly daxWindowMiB?: number;
}

/** A machine's own command. */
export interface MainCommand {
  /** Program and arguments; the program is looked up in the guest's PATH. */
  readonly argv: readonly string[];
  /** Working directory in the guest. Default: the image's, else `/`. */
  readonly cwd?: string;
  /** `name`, `uid`, `name:group` or `uid:gid`. Default: the image's, else root. */
  readonly user?: string;
  /** Kills the command, and so the machine, after this many milliseconds. */
  readonly timeoutMs?: number;
}

/** Options of {@link Vm.start}. */
export interface VmOptions {
  /** Name of an image in the store. */
  readonly image: string;
  /** Where images are looked up. Default: the user's store. */
  readonly store?: ImageStore;
  /** Default 256. */
  readonly memoryMiB?: number;
  /** vCPUs, 1 to 16. Default 1. */
  readonly cpus?: number;
  readonly mounts?: readonly Mount[];
  /** Added to the image's environment for every command. */
  readonly env?: Readonly<Record<string, string>>;
  /** Host name in the guest. Default: derived from the image's name. */
  readonly hostname?: string;
  /**
   * The machine's own command. It is started when the guest is up, prints to the machine's log, and the
   * machine ends when it does. Default: none, the machine runs until it is stopped.
   */
  readonly command?: MainCommand;
  /** Default `auto`. */
  readonly hypervisor?: HypervisorName;
  /**
   * Where the machine runs: `process`, the default, isolates the caller from anything that happens to
   * it; `thread` is a worker thread of the caller, which takes less memory, keeps the caller's event loop free
   * and shares its address space; `inline` serves the machine's devices from that event loop, and starts fastest.
   */
  readonly isolation?: Isolation;
  /**
   * The machine outlives this process, in a process of its own: find it again with `Vm.connect`, end it with
   * `vm.stop()`. Otherwise it ends when this process does, however that ends. Default false.
   */
  readonly detached?: boolean;
  /**
   * By which other processes find the machine; no two that run have the same. Up to 63 letters, digits, `_`,
   * `.` and `-`. Default: its id. A machine that is `inline` is found only if it has a name.
   */
  readonly name?: string;
  /**
   * Goes on from what `image.bake` has left, if that was for the same image, configuration and kernel: from the one
   * with this tag, or with `true`, the default, from the one without. `false` always boots.
   */
  readonly warm?: boolean | string;
  /** How long the guest may take to come up, in milliseconds. Default 30,000; 120,000 under QEMU. */
  readonly bootTimeoutMs?: number;
  /** Gives up the start. */
  readonly signal?: AbortSignal;
  /** Receives the guest's console as it comes. */
  readonly onConsole?: (bytes: Uint8Array) => void;
  /** Receives one-line remarks, such as that QEMU stands in for a missing hypervisor. */
  readonly onNotice?: (notice: string) => void;
}
