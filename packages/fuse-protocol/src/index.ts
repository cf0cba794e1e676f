/**
 * FUSE wire protocol: every struct, opcode and flag of linux/fuse.h, with fast field access.
 *
 * @packageDocumentation
 */
export {};
