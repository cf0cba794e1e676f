import { tmpdir } from "node:os";
import { testWorkloads } from "@supermachine-internal/fs-conformance";
import { requireFacility } from "@supermachine-internal/testing";
import { share } from "./mounted-share.js";

requireFacility("linux", "root", "fuse").describe("a share through /dev/fuse", () => {
  testWorkloads(share("the share", tmpdir()));
});
