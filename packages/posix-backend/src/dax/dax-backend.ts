import type {
  AttrReply,
  DirectoryPlusSink,
  EntryReply,
  OpenReply,
  RequestContext,
  Result,
  SetattrRequest,
  StatxReply,
} from "@supermachine/fuse-server";
import type { PosixBackendOptions } from "../options.js";
import { PosixBackend } from "../posix-backend.js";
import { DaxMappings, type DaxWindow } from "./dax.js";

/** Options of {@link DaxBackend}. */
export interface DaxBackendOptions extends PosixBackendOptions {
  /**
   * Of a client that mounts with `dax=inode`, Linux's default, only files of at least so many bytes are
   * mapped: a smaller one is read sooner than mapped. One that mounts with `dax=always` maps all.
   * Default 0: all.
   */
  readonly daxMinFileSize?: number;
}

/**
 * A {@link PosixBackend} whose client maps files into a window of its machine's memory and accesses them
 * there, without requests and without a copy of its own (`mount -t virtiofs -o dax`). The window belongs
 * to the caller, who closes it after this.
 */
export class DaxBackend extends PosixBackend {
  readonly #mappings: DaxMappings;

  /** @throws `PosixBackendError` as {@link PosixBackend} does. */
  constructor(root: string, window: DaxWindow, options: DaxBackendOptions = {}) {
    // A write to a mapping is no request in which set-id bits could be dropped: the client's kernel must do it.
    super(root, { killpriv: false, ...options });
    this.#mappings = new DaxMappings(this.share, window);
    this.share.stat.daxMinFileSize = options.daxMinFileSize ?? 0;
  }

  /** How many ranges of files are mapped. */
  get mappingCount(): number {
    return this.#mappings.size;
  }

  /**
   * The client touched a page of the window that cannot be accessed. Where a file has ended before the
   * page since it was mapped, the page reads as zeros from now on; answers whether there was such a file.
   */
  repair(): boolean {
    return this.#mappings.shorten();
  }

  setupMapping(
    _ctx: RequestContext,
    nodeid: number,
    _fh: number | undefined,
    offset: number,
    length: number,
    flags: number,
    windowOffset: number,
  ): number {
    return this.#mappings.setup(nodeid, offset, length, flags, windowOffset);
  }

  removeMapping(_ctx: RequestContext, windowOffset: number, length: number): number {
    return this.#mappings.remove(windowOffset, length);
  }

  override destroy(): void {
    this.#mappings.clear();
    super.destroy();
  }

  override close(): void {
    this.#mappings.clear();
    super.close();
  }

  // Every operation after which the client knows of a size that it did not know before.

  override lookup(ctx: RequestContext, parent: number, name: string, reply: EntryReply): number {
    const result = super.lookup(ctx, parent, name, reply);
    if (result >= 0) this.#mappings.lengthen(reply.nodeid);
    return result;
  }

  override create(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    umask: number,
    flags: number,
    reply: EntryReply,
    opened: OpenReply,
    openFlags: number,
  ): number {
    const result = super.create(ctx, parent, name, mode, umask, flags, reply, opened, openFlags);
    if (result >= 0) this.#mappings.lengthen(reply.nodeid);
    return result;
  }

  override link(
    ctx: RequestContext,
    nodeid: number,
    newParent: number,
    newName: string,
    reply: EntryReply,
  ): number {
    const result = super.link(ctx, nodeid, newParent, newName, reply);
    this.#mappings.lengthen(nodeid);
    return result;
  }

  override readdirplus(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    sink: DirectoryPlusSink,
  ): number {
    const result = super.readdirplus(ctx, nodeid, fh, offset, sink);
    this.#mappings.lengthenAll();
    return result;
  }

  override getattr(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    reply: AttrReply,
  ): number {
    const result = super.getattr(ctx, nodeid, fh, reply);
    this.#mappings.lengthen(nodeid);
    return result;
  }

  override statx(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    flags: number,
    mask: number,
    reply: StatxReply,
  ): number {
    const result = super.statx(ctx, nodeid, fh, flags, mask, reply);
    this.#mappings.lengthen(nodeid);
    return result;
  }

  override setattr(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    request: SetattrRequest,
    reply: AttrReply,
  ): number {
    const result = super.setattr(ctx, nodeid, fh, request, reply);
    this.#mappings.lengthen(nodeid);
    return result;
  }

  override write(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
    writeFlags: number,
  ): number {
    const result = super.write(ctx, nodeid, fh, offset, buffers, writeFlags);
    this.#mappings.lengthen(nodeid);
    return result;
  }

  override fallocate(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    mode: number,
    offset: number,
    length: number,
  ): Result {
    const result = super.fallocate(ctx, nodeid, fh, mode, offset, length);
    return this.#lengthened(nodeid, result);
  }

  override copyFileRange(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    nodeidOut: number,
    fhOut: number,
    offsetOut: number,
    length: number,
  ): Result {
    const result = super.copyFileRange(
      ctx,
      nodeid,
      fh,
      offset,
      nodeidOut,
      fhOut,
      offsetOut,
      length,
    );
    return this.#lengthened(nodeidOut, result);
  }

  #lengthened(nodeid: number, result: Result): Result {
    if (typeof result !== "number") return result.then((done) => this.#lengthened(nodeid, done));
    this.#mappings.lengthen(nodeid);
    return result;
  }
}
