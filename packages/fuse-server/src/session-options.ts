import type { PassthroughOptions } from "./io-modes.js";
import type { Logger } from "./logger.js";

/** Options of a {@link Session}. */
export interface SessionOptions {
  /** How long names may be cached when the backend does not say, in milliseconds. Default 1000. */
  readonly entryValidMs?: number;
  /** How long attributes may be cached when the backend does not say, in milliseconds. Default 1000. */
  readonly attrValidMs?: number;
  /** The longest write in bytes, 4096..1048576. Default 1 MiB. */
  readonly maxWrite?: number;
  /**
   * Let the kernel collect writes and keep size and mtime (`FUSE_WRITEBACK_CACHE`): faster, and wrong
   * when anything else changes the files. Default false.
   */
  readonly writebackCache?: boolean;
  /** Let the kernel ask for names and attributes at once, where the backend can. Default true. */
  readonly readdirplus?: boolean;
  /** log2 of the alignment of DAX mappings in bytes. Default 12. */
  readonly mapAlignment?: number;
  /**
   * Other sessions use the same backend. Then the end of this one does not call `destroy`: the session
   * keeps account of what its client holds and gives just that back, and the client cannot forget more
   * than it was given. `init` is called for each session. Default false.
   */
  readonly sharedBackend?: boolean;
  /** How many nodes the client may hold (ENFILE beyond). Default: as many as the backend gives. */
  readonly maxNodes?: number;
  /** How many files and directories it may have open (ENFILE beyond). Default: as many as the backend gives. */
  readonly maxHandles?: number;
  /**
   * The transport can hand open host files to the kernel, where the backend names them
   * (`OpenReply.passthroughFd`). Not together with `writebackCache`. Default: it cannot.
   */
  readonly passthrough?: PassthroughOptions;
  /**
   * The transport takes requests through io_uring if the client offers that (`FUSE_OVER_IO_URING`), and
   * registers its queues as soon as INIT is answered. Default false.
   */
  readonly ioUring?: boolean;
  /**
   * An interrupt has come for a request that is not pending here: it is answered already, or pending at
   * another session of the same connection.
   */
  readonly onStrayInterrupt?: (unique: bigint) => void;
  /** The client is the kernel of this host (`SessionInfo.hostKernel`). Default false. */
  readonly hostKernel?: boolean;
  /**
   * The transport gives the same few buffers again and again, and the client cannot change the memory of
   * a request that is being served. Then requests are read and replies written where they lie, without a
   * copy, if they are undivided. Default false.
   */
  readonly privateBuffers?: boolean;
  /** Default: warnings on the process. */
  readonly logger?: Logger;
}
