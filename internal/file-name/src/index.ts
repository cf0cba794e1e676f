/**
 * File names, which are bytes on Linux, as strings, without loss.
 * Private: bundled into the packages that use it.
 *
 * @packageDocumentation
 */
export { decodeName, encodeName, nameLength, writeName } from "./file-name.js";
