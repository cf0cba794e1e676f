import { homedir } from "node:os";
import { join } from "node:path";

/** Where built assets are kept: `$XDG_CACHE_HOME/supermachine`, by default in `~/.cache`. */
export function cacheDirectory(): string {
  const { XDG_CACHE_HOME: configured } = process.env;
  return join(configured || join(homedir(), ".cache"), "supermachine");
}
