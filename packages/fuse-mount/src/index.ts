/**
 * Mount an FsBackend on Linux through /dev/fuse.
 *
 * @packageDocumentation
 */
export { FuseMountError } from "./error.js";
export { Mount, mount, type UnmountOptions } from "./mount.js";
export { type BackendSource, type ModuleMountOptions, mountModule } from "./mount-module.js";
export type { MountOptions } from "./mount-options.js";
