/**
 * Writer and reader of EROFS images.
 *
 * @packageDocumentation
 */
export {};
