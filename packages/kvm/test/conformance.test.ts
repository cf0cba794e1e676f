import { testHypervisor } from "@supermachine/hypervisor/conformance";
import { EventFd } from "@supermachine-internal/libc";
import { Kvm } from "../src/index.js";

testHypervisor(() => new Kvm(), {
  driverModule: new URL("../node_modules/.driver/driver.js", import.meta.url),
  createEvent: () => new EventFd(),
});
