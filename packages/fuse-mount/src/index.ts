/**
 * Mount an FsBackend on Linux through /dev/fuse.
 *
 * @packageDocumentation
 */
export {};
