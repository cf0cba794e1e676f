/**
 * A FUSE server: the file system interface to implement ({@link FsBackend}), the dispatcher that
 * speaks the protocol for it, an in-memory file system, and a transport over Unix sockets.
 *
 * @packageDocumentation
 */
export type { BackendFeatures, FsBackend, Result } from "./backend.js";
export { type Dirent, ReplyReader } from "./client/decode-reply.js";
export { type ClientOptions, type FuseChannel, FuseClient } from "./client/fuse-client.js";
export { type Credentials, RequestWriter } from "./client/request-writer.js";
export { FuseError, FuseServerError } from "./error.js";
export { type BackingFiles, createIoModes, type PassthroughOptions } from "./io-modes.js";
export type { Logger } from "./logger.js";
export { MemoryFs, type MemoryFsOptions } from "./memory-fs/memory-fs.js";
export { Notifier } from "./notifier.js";
export { practise, type RequestServer } from "./practice.js";
export {
  Attr,
  AttrReply,
  EntryReply,
  IoctlReply,
  LockReply,
  OpenReply,
  StatfsReply,
  StatxReply,
  StatxTime,
} from "./reply.js";
export type {
  DirectoryPlusSink,
  DirectorySink,
  LockRequest,
  RequestContext,
  SessionInfo,
  SetattrRequest,
} from "./request.js";
export { Session } from "./session.js";
export type { SessionOptions } from "./session-options.js";
export { type ConnectOptions, connectStream } from "./stream/connect-stream.js";
export { type ListenOptions, listenStream, StreamServer } from "./stream/listen-stream.js";
