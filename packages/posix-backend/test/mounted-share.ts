import { type MountOptions, mount } from "@supermachine/fuse-mount";
import type { Feature, MountedTarget } from "@supermachine-internal/fs-conformance";
import { PosixBackend, type PosixBackendOptions } from "../src/index.js";

/** A share of a new directory below `parent`, to be mounted through /dev/fuse. */
export function share(
  name: string,
  parent: string,
  options: PosixBackendOptions = {},
  mountOptions: MountOptions = {},
  lacks: readonly Feature[] = [],
): MountedTarget {
  return {
    name,
    parent,
    // The kernel's FUSE client takes no such request.
    lacks: ["collapse", ...lacks],
    async mount(path, host) {
      const backend = new PosixBackend(host, options);
      const mounted = await mount(backend, path, {
        allowOther: true,
        allowSetuid: true,
        allowDevices: true,
        ...mountOptions,
      });
      return {
        async [Symbol.asyncDispose]() {
          await mounted[Symbol.asyncDispose]();
          backend.close();
        },
      };
    },
  };
}
