import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { projects: ["packages/*", "internal/*", "lab/test", "scripts/test"], pool: "forks" },
});
