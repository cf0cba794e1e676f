/**
 * Writer and reader of EROFS images.
 *
 * @packageDocumentation
 */

export { decodeName, encodeName } from "@supermachine-internal/file-name";
export type { ErofsDirent } from "./directory-blocks.js";
export { ErofsError, type ErofsErrorCode } from "./errors.js";
export { type ErofsInode, type ErofsInput, ErofsReader } from "./reader.js";
export type { ErofsOutput } from "./sequential-output.js";
export type { ErofsSuperBlock } from "./superblock.js";
export type {
  ErofsAttributes,
  ErofsDevice,
  ErofsDirectory,
  ErofsFile,
  ErofsNode,
  ErofsNodeType,
  ErofsSpecial,
  ErofsSymlink,
} from "./tree.js";
export {
  type ErofsContent,
  type ErofsSummary,
  ErofsWriter,
  type ErofsWriterOptions,
  type WriteErofsOptions,
  writeErofs,
} from "./writer.js";
export { isStorableXattr } from "./xattr.js";
