import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";

/**
 * Shared test settings. Tests run in forked processes, so a crash inside a native call stays in one
 * file, and resolve workspace packages to their sources, so no build is needed first.
 */
export const base: ViteUserConfig = defineConfig({
  resolve: { conditions: ["@supermachine/source"] },
  ssr: { resolve: { conditions: ["@supermachine/source"] } },
  test: {
    pool: "forks",
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    setupFiles: [fileURLToPath(new URL("internal/testing/src/fuzz-setup.ts", import.meta.url))],
    testTimeout: 30_000,
  },
});
