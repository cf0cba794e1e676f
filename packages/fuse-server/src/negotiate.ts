import {
  EPROTO,
  FUSE_ASYNC_DIO,
  FUSE_ASYNC_READ,
  FUSE_ATOMIC_O_TRUNC,
  FUSE_AUTO_INVAL_DATA,
  FUSE_BIG_WRITES,
  FUSE_CACHE_SYMLINKS,
  FUSE_CREATE_SUPP_GROUP,
  FUSE_DIRECT_IO_ALLOW_MMAP,
  FUSE_DO_READDIRPLUS,
  FUSE_DONT_MASK,
  FUSE_EXPORT_SUPPORT,
  FUSE_FLOCK_LOCKS,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_HAS_INODE_DAX,
  FUSE_HAS_IOCTL_DIR,
  FUSE_INIT_EXT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_MAP_ALIGNMENT,
  FUSE_MAX_PAGES,
  FUSE_OVER_IO_URING,
  FUSE_PARALLEL_DIROPS,
  FUSE_PASSTHROUGH,
  FUSE_POSIX_ACL,
  FUSE_POSIX_LOCKS,
  FUSE_READDIRPLUS_AUTO,
  FUSE_SETXATTR_EXT,
  FUSE_SUBMOUNTS,
  FUSE_WRITEBACK_CACHE,
  fuse_in_header,
  fuse_init_in,
  fuse_init_out,
  fuse_out_header,
} from "@supermachine/fuse-protocol";
import type { FsBackend } from "./backend.js";
import type { SessionInfo } from "./request.js";
import type { RequestSlot } from "./slot.js";

/** The oldest minor version that has all that the declarations assume. */
const OLDEST_MINOR = 31;
const PAGE = 4096;
/** What a client without FUSE_MAX_PAGES sends at most. */
const DEFAULT_MAX_PAGES = 32;

const BODY = fuse_in_header.size;
const REPLY = fuse_out_header.size;

/** What the session wants of a connection. */
export interface Wishes {
  /** Bytes; at most 1 MiB is of use to Linux. */
  readonly maxWrite: number;
  readonly writebackCache: boolean;
  readonly readdirplus: boolean;
  /** log2 of the alignment of DAX mappings. */
  readonly mapAlignment: number;
  /** Of {@link PassthroughOptions}; 0 without. */
  readonly maxStackDepth: number;
  readonly ioUring: boolean;
  readonly hostKernel: boolean;
}

function wantsWriteback(backend: FsBackend, wishes: Wishes): boolean {
  return wishes.writebackCache || backend.features?.writebackCache === true;
}

/** The flags to ask for: those that cost nothing, and those that the backend has methods for. */
function wantedFlags(backend: FsBackend, wishes: Wishes): bigint {
  const features = backend.features ?? {};
  const when = (condition: boolean | undefined, flags: bigint) => (condition ? flags : 0n);
  return (
    FUSE_ASYNC_READ |
    FUSE_BIG_WRITES |
    FUSE_PARALLEL_DIROPS |
    FUSE_AUTO_INVAL_DATA |
    FUSE_ASYNC_DIO |
    FUSE_MAX_PAGES |
    FUSE_CACHE_SYMLINKS |
    // Programs may map files whose data is not cached (FOPEN_DIRECT_IO).
    FUSE_DIRECT_IO_ALLOW_MMAP |
    FUSE_SUBMOUNTS |
    FUSE_SETXATTR_EXT |
    FUSE_INIT_EXT |
    FUSE_CREATE_SUPP_GROUP |
    // Without an open that truncates, the kernel must do it with SETATTR.
    when(backend.open !== undefined, FUSE_ATOMIC_O_TRUNC) |
    when(wishes.readdirplus && backend.readdirplus !== undefined, FUSE_DO_READDIRPLUS) |
    when(
      wishes.readdirplus && backend.readdirplus !== undefined && backend.readdir !== undefined,
      FUSE_READDIRPLUS_AUTO,
    ) |
    when(backend.getlk !== undefined && backend.setlk !== undefined, FUSE_POSIX_LOCKS) |
    when(backend.flock !== undefined, FUSE_FLOCK_LOCKS) |
    when(backend.ioctl !== undefined, FUSE_HAS_IOCTL_DIR) |
    when(backend.setupMapping !== undefined, FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX) |
    when(features.killPrivileges, FUSE_HANDLE_KILLPRIV_V2) |
    when(features.appliesUmask, FUSE_DONT_MASK) |
    when(features.posixAcl, FUSE_POSIX_ACL) |
    when(features.exportSupport, FUSE_EXPORT_SUPPORT) |
    when(wantsWriteback(backend, wishes), FUSE_WRITEBACK_CACHE) |
    when(wishes.ioUring, FUSE_OVER_IO_URING) |
    // Linux refuses the two together: cached writes could not be told from the file's own.
    when(wishes.maxStackDepth > 0 && !wantsWriteback(backend, wishes), FUSE_PASSTHROUGH)
  );
}

/** The outcome of INIT. */
export type Negotiation =
  /** Go on with this; the reply is `length` bytes of body. */
  | { readonly kind: "agreed"; readonly length: number; readonly info: SessionInfo }
  /** The client is of a later major version and will send another INIT. */
  | { readonly kind: "retry"; readonly length: number }
  | { readonly kind: "refused"; readonly error: number; readonly reason: string };

/** Reads `struct fuse_init_in` from the slot and writes `struct fuse_init_out` to it. */
export function negotiate(slot: RequestSlot, backend: FsBackend, wishes: Wishes): Negotiation {
  const request = fuse_init_in.offsets;
  const reply = fuse_init_out.offsets;
  const view = slot.replyView;
  slot.reply.fill(0, REPLY, REPLY + fuse_init_out.size);
  view.setUint32(REPLY + reply.major, FUSE_KERNEL_VERSION, true);
  view.setUint32(REPLY + reply.minor, FUSE_KERNEL_MINOR_VERSION, true);

  const major = slot.u32(BODY + request.major);
  const theirMinor = slot.u32(BODY + request.minor);
  if (major > FUSE_KERNEL_VERSION) return { kind: "retry", length: fuse_init_out.size };
  if (major < FUSE_KERNEL_VERSION || theirMinor < OLDEST_MINOR) {
    const reason = `client speaks FUSE ${major}.${theirMinor}; at least 7.${OLDEST_MINOR} is needed`;
    return { kind: "refused", error: -EPROTO, reason };
  }

  let offered = BigInt(slot.u32(BODY + request.flags));
  const hasFlags2 = slot.length >= BODY + request.flags2 + 4 && (offered & FUSE_INIT_EXT) !== 0n;
  if (hasFlags2) offered |= BigInt(slot.u32(BODY + request.flags2)) << 32n;
  const flags = offered & wantedFlags(backend, wishes);

  const minor = Math.min(theirMinor, FUSE_KERNEL_MINOR_VERSION);
  const maxReadahead = slot.u32(BODY + request.max_readahead);
  const largePages = Math.ceil(wishes.maxWrite / PAGE);
  const maxPages = (flags & FUSE_MAX_PAGES) === 0n ? DEFAULT_MAX_PAGES : largePages;
  const maxWrite = Math.min(wishes.maxWrite, maxPages * PAGE);
  view.setUint32(REPLY + reply.minor, minor, true);
  view.setUint32(REPLY + reply.max_readahead, maxReadahead, true);
  view.setUint32(REPLY + reply.flags, Number(flags & 0xffff_ffffn), true);
  view.setUint32(REPLY + reply.flags2, Number(flags >> 32n), true);
  view.setUint16(REPLY + reply.max_background, 64, true);
  view.setUint16(REPLY + reply.congestion_threshold, 48, true);
  view.setUint32(REPLY + reply.max_write, maxWrite, true);
  view.setUint32(REPLY + reply.time_gran, 1, true);
  view.setUint16(REPLY + reply.max_pages, maxPages, true);
  view.setUint16(REPLY + reply.map_alignment, wishes.mapAlignment, true);
  const stackDepth = (flags & FUSE_PASSTHROUGH) === 0n ? 0 : wishes.maxStackDepth;
  view.setUint32(REPLY + reply.max_stack_depth, stackDepth, true);
  const { hostKernel } = wishes;
  const info = { minor, flags, maxWrite, maxReadahead, hostKernel };
  return { kind: "agreed", length: fuse_init_out.size, info };
}
