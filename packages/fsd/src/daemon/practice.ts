import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { practise, type RequestServer, type Session } from "@supermachine/fuse-server";
import { PosixBackend } from "@supermachine/posix-backend";

/**
 * Serves an empty directory for a moment, while this process still has a place for one, so that the first
 * client finds code that is compiled. It only costs speed where there is no such place.
 *
 * @param transport - As that of {@link practise}.
 */
export function practiseServing(transport?: (session: Session) => RequestServer): void {
  const memory = "/dev/shm";
  let directory: string | undefined;
  try {
    directory = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), "supermachine-practice-"));
    using backend = new PosixBackend(directory);
    practise(backend, {}, transport);
  } catch {
    // What is wrong with serving itself shows, with its reason, when it is asked for.
  } finally {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}
