/**
 * FUSE server: the FsBackend interface, dispatcher, in-memory file system and stream transport.
 *
 * @packageDocumentation
 */
export {};
