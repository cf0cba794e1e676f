import { defineConfig, mergeConfig } from "vitest/config";
import { base } from "../../vitest.base.ts";

/** Tests that need the lab around them. */
export default mergeConfig(
  base,
  defineConfig({ test: { name: "inside the lab", include: ["*.test.ts"] } }),
);
