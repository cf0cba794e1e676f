/**
 * OCI image layouts and docker archives, layer application to EROFS, and a local image store.
 *
 * @packageDocumentation
 */
export { OciError, type OciErrorCode } from "./errors.js";
export {
  type RootfsOptions,
  type RootfsProgress,
  type RootfsSummary,
  writeRootfs,
} from "./layer/rootfs.js";
export type { ImageConfig } from "./manifest.js";
export { defaultPlatform, formatPlatform, type Platform, parsePlatform } from "./platform.js";
export { canonicalName, formatReference, parseReference, type Reference } from "./reference.js";
export type {
  ImageLayer,
  ImageSelector,
  ImageSource,
  SourceImage,
} from "./source/image-source.js";
export { openImageSource } from "./source/open-image-source.js";
export {
  defaultStoreDirectory,
  ImageStore,
  type ImportOptions,
  type StoredImage,
} from "./store/image-store.js";
