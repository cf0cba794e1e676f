/**
 * The hypervisor seam: types every driver implements and the conformance suite it must pass.
 *
 * @packageDocumentation
 */
export {};
