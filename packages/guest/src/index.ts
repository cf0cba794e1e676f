/**
 * Guest kernel configuration and build, the guest agent, initramfs writer, and the host side of the agent protocol.
 *
 * @packageDocumentation
 */
export {};
