/**
 * OCI image layouts and docker archives, layer application to EROFS, and a local image store.
 *
 * @packageDocumentation
 */
export {};
