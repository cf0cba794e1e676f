/**
 * Conformance suites for file systems: tables of what POSIX and the Linux manual say, random sequences
 * compared with a native directory, and the integrity of data.
 *
 * @packageDocumentation
 */
export { ClientExecutor } from "./client/client-executor.js";
export { clientTarget, type Served } from "./client/target.js";
export { pseudoRandom, showBytes } from "./data.js";
export { testSideBySide } from "./differential/side-by-side.js";
export { testDifferential } from "./differential/suite.js";
export { type Executor, executorProgram, startExecutor, startExecutorBy } from "./executor.js";
export type { Effort } from "./inputs.js";
export { testIntegrity } from "./integrity/suite.js";
export { type MountedTarget, mountedTarget } from "./mounted.js";
export { nativeTarget, startNative } from "./native.js";
export { type ReadOnlyTarget, testReadOnly } from "./posix/read-only.js";
export { posixCases, testPosix } from "./posix/suite.js";
export type { Feature, Target } from "./target.js";
export { testWorkloads } from "./workloads.js";
