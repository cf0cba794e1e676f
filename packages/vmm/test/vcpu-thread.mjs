import { appendFileSync } from "node:fs";
import { Kvm } from "@supermachine/kvm";
import { runVcpuThread } from "@supermachine/vmm";

// A test counts the threads by what they leave here.
const { VMM_TEST_THREADS: file } = process.env;
if (file !== undefined) appendFileSync(file, "x");
runVcpuThread(new Kvm());
