import type { Options } from "tsup";

/** Shared build: ESM + CJS + declarations. Private `internal/*` packages are bundled, types included. */
export const base: Options = {
  entry: ["src/index.ts"],
  format: ["esm", "cjs"],
  dts: { resolve: [/^@supermachine-internal\//] },
  noExternal: [/^@supermachine-internal\//],
  sourcemap: true,
  clean: true,
  target: "node20",
  treeshake: false,
  splitting: false,
};
