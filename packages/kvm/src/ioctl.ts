import { lastErrno, lazyFunction, type Pointer } from "@supermachine-internal/libc";
import { ioctlError } from "./errors.js";
import { type CapabilityName, capabilities, type IoctlName, ioctls } from "./numbers.js";

// ioctl(2) is variadic in C; on the Linux ABIs of x86-64 and arm64 a fixed prototype passes the same
// registers and is faster to call.
const withNumber = lazyFunction<(fd: number, request: number, argument: number) => number>(
  "int ioctl(int fd, unsigned long request, long argument)",
);
const withPointer = lazyFunction<(fd: number, request: number, argument: Pointer) => number>(
  "int ioctl(int fd, unsigned long request, void *argument)",
);

const EINTR = 4;

/** Calls KVM_RUN and returns 0, or the errno. The hot path: no error objects, no retry. */
export function runVcpu(fd: number): number {
  return withNumber(fd, ioctls.KVM_RUN, 0) === -1 ? lastErrno() : 0;
}

/**
 * Calls an ioctl other than KVM_RUN and returns its result, or -errno. A kick may hit its thread at
 * any time, and an interrupted KVM ioctl has done nothing, so EINTR means again.
 */
export function tryIoctl(fd: number, name: IoctlName, argument: number | Pointer): number {
  for (;;) {
    const result =
      typeof argument === "number"
        ? withNumber(fd, ioctls[name], argument)
        : withPointer(fd, ioctls[name], argument);
    if (result !== -1) return result;
    const errno = lastErrno();
    if (errno !== EINTR) return -errno;
  }
}

/** Like {@link tryIoctl}; throws a {@link KvmError} on failure. */
export function ioctl(fd: number, name: IoctlName, argument: number | Pointer): number {
  const result = tryIoctl(fd, name, argument);
  if (result < 0) throw ioctlError(name, -result);
  return result;
}

/** KVM_CHECK_EXTENSION: 0 when the capability is missing. Works on /dev/kvm and on a VM. */
export function checkExtension(fd: number, name: CapabilityName): number {
  return ioctl(fd, "KVM_CHECK_EXTENSION", capabilities[name]);
}
