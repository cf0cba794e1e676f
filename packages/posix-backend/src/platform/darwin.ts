/**
 * macOS as POSIX has it, in the form of Linux: flags, results and layouts are Linux's, and errnos negated ones. Not run
 * so far: there was no macOS to run it on. What can be tested elsewhere is in `darwin-abi.ts`, `darwin-errno.ts`,
 * `darwin-listing.ts` and `portable`, which is what makes handles of these calls.
 */

import * as data from "./darwin-data.js";
import * as locks from "./darwin-locks.js";
import * as names from "./darwin-names.js";
import type { PosixCalls } from "./portable/posix-calls.js";

export const darwinPosixCalls: PosixCalls = { ...names, ...data, ...locks };
