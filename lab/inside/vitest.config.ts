import { defineConfig } from "vitest/config";

/** Tests that need the lab around them. They run built code, for it starts processes and threads. */
export default defineConfig({
  test: { name: "inside the lab", pool: "forks", include: ["*.test.ts"], testTimeout: 240_000 },
});
