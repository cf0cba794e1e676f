import { spawnSync } from "node:child_process";
import type { OwnFacility } from "@supermachine-internal/testing";

function isAllowed(): boolean {
  return spawnSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;
}

/** The right to mount, which containers keep from root. */
export const mounting: OwnFacility = {
  name: "mount",
  missing: isAllowed() ? undefined : "mount(2) is not allowed",
};
