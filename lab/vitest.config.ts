import { fileURLToPath } from "node:url";
import { defineConfig, mergeConfig } from "vitest/config";
import { base } from "../vitest.base.ts";

/** What runs in the lab: everything that drives /dev/kvm, one file after the other. */
export default mergeConfig(
  base,
  defineConfig({
    test: {
      root: fileURLToPath(new URL("..", import.meta.url)),
      include: [
        "packages/kvm/test/**/*.test.ts",
        "packages/vmm/test/**/*.test.ts",
        "lab/inside/*.test.ts",
      ],
      // The emulated CPU is some twenty times slower than a real one.
      testTimeout: 300_000,
      hookTimeout: 300_000,
      fileParallelism: false,
    },
  }),
);
