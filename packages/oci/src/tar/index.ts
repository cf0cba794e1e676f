/**
 * Tar archives, read and written entry by entry, without loss of names that are not UTF-8.
 *
 * @packageDocumentation
 */
export { TAR_BLOCK } from "./header.js";
export { readTar, type TarEntry, type TarEntryType, type TarHeader } from "./reader.js";
export { encodeTarHeader, type NewTarHeader } from "./writer.js";
