/**
 * How a test says what it needs from the machine, so that a skip always has a reason.
 *
 * @packageDocumentation
 */
export { type Facility, missing, requireFacility } from "./facility.js";
