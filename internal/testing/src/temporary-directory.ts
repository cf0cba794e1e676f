import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A directory of its own below the system's temporary one, removed with all in it when disposed of. */
export class TemporaryDirectory implements Disposable {
  /** Absolute. */
  readonly path = mkdtempSync(join(tmpdir(), "supermachine-test-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
