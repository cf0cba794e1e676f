/**
 * FsBackend over a host directory, confined to its root.
 *
 * @packageDocumentation
 */
export {};
