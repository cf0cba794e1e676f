/**
 * Mount an FsBackend on Linux through /dev/fuse.
 *
 * @packageDocumentation
 */
export { FuseMountError } from "./error.js";
export { Mount, type MountOptions, mount } from "./mount.js";
