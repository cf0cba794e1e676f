import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A directory of its own below the system's temporary one, removed with all in it when disposed of.
 * Other users can enter it: some tests become one.
 */
export class TemporaryDirectory implements Disposable {
  /** Absolute. */
  readonly path = mkdtempSync(join(tmpdir(), "supermachine-test-"));

  constructor() {
    chmodSync(this.path, 0o755);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
