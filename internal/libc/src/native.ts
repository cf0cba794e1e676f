import koffi, { type KoffiFunc } from "koffi";

/**
 * Loads the C library once, on first use, so that importing a package on a platform it does not
 * support fails only when it is used.
 */
let libc: ReturnType<typeof koffi.load> | undefined;

export function cLibrary(): ReturnType<typeof koffi.load> {
  libc ??= koffi.load(process.platform === "darwin" ? "libSystem.B.dylib" : "libc.so.6");
  return libc;
}

/** Something C takes as a pointer: an address, or memory that JavaScript owns. */
export type Pointer = bigint | NodeJS.ArrayBufferView | ArrayBuffer | SharedArrayBuffer | null;

/**
 * Declares a C function that is looked up on its first call.
 * The prototype is the man page's, with `intptr_t` for `ssize_t`, which koffi does not know.
 */
export function lazyFunction<T extends (...args: never[]) => unknown>(prototype: string): T {
  let native: KoffiFunc<T> | undefined;
  return ((...args: Parameters<T>) => {
    native ??= cLibrary().func(prototype) as KoffiFunc<T>;
    return native(...args);
  }) as T;
}
