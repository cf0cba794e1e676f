import { main } from "@supermachine/fsd/cli";

/** Runs a file system daemon until it ends; resolves with the exit status. */
export function fsd(options: readonly string[]): Promise<number> {
  return main(options, "supermachine fsd");
}
