import { fileURLToPath } from "node:url";
import type { Options } from "tsup";

/** By path, not by name: of what is found in node_modules, declarations are not bundled whole. */
const internal = fileURLToPath(new URL("internal/*/src/index.ts", import.meta.url));

/** Shared build: ESM + CJS + declarations. Private `internal/*` packages are bundled, types included. */
export const base: Options = {
  entry: ["src/index.ts"],
  format: ["esm", "cjs"],
  dts: { compilerOptions: { paths: { "@supermachine-internal/*": [internal] } } },
  noExternal: [/^@supermachine-internal\//],
  sourcemap: true,
  clean: true,
  target: "node20",
  treeshake: false,
  splitting: false,
};
