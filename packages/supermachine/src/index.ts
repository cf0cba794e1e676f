/**
 * Run any OCI image as a hardware-isolated microVM.
 *
 * @packageDocumentation
 */
export {};
