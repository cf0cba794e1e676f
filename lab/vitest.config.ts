import { defineConfig } from "vitest/config";

/** What can run in the lab; scripts/test.mjs names the folders whose tests drive /dev/kvm. */
export default defineConfig({
  test: { projects: ["packages/kvm", "packages/vmm", "lab/inside"] },
});
