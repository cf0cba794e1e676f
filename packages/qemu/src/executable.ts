import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of an executable that `PATH` finds. */
export function findExecutable(name: string): string | undefined {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      if (directory !== "" && statSync(path).isFile()) return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}
