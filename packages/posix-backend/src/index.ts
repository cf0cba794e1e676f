/**
 * A file system backend over a host directory, confined to it.
 *
 * @packageDocumentation
 */
export type { DaxWindow } from "./dax/dax.js";
export { DaxBackend, type DaxBackendOptions } from "./dax/dax-backend.js";
export { PosixBackendError } from "./error.js";
export type {
  CachePolicy,
  InodeFileHandles,
  PosixBackendOptions,
  SymlinkPolicy,
} from "./options.js";
export { PosixBackend } from "./posix-backend.js";
export { createPracticeBackend } from "./practice-backend.js";
export {
  SharedPosixShare,
  type SharedPosixShareData,
  type SharedPosixShareOptions,
} from "./shared-posix-share.js";
