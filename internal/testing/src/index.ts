/**
 * What tests need of a machine, and say so, that a skip always has a reason; and what the tests of
 * several packages do alike.
 *
 * @packageDocumentation
 */
export { type HeaderProbe, probeHeaders, structLayout } from "./c-header.js";
export { openDescriptors } from "./descriptors.js";
export { type Facility, missing, type OwnFacility, requireFacility } from "./facility.js";
export { runs } from "./fuzz.js";
export { kernelSwitch } from "./kernel-switch.js";
export { TemporaryDirectory } from "./temporary-directory.js";
export { until } from "./wait.js";
