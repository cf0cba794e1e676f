import { defineConfig, mergeConfig } from "vitest/config";
import { base } from "../../vitest.base.ts";

/** Tests of the lab itself. What runs in it is listed in ../vitest.config.ts. */
export default mergeConfig(base, defineConfig({ test: { name: "lab", include: ["*.test.ts"] } }));
