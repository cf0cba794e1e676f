import { join } from "node:path";
import { build } from "tsup";

/**
 * Worker threads cannot load TypeScript on Node.js 20: bundles this package's sources, with those of
 * the workspace packages they use, before the tests start. Under node_modules, so that it is ignored
 * and finds koffi.
 */
export async function setup(): Promise<void> {
  await build({
    config: false,
    entry: [join(import.meta.dirname, "driver.ts")],
    outDir: join(import.meta.dirname, "..", "node_modules", ".driver"),
    format: ["esm"],
    target: "node20",
    noExternal: [/^@supermachine/],
    esbuildOptions: (options) => {
      options.conditions = ["@supermachine/source"];
    },
    silent: true,
  });
}
