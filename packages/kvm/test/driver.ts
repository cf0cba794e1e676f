import { Kvm } from "../src/index.js";

/** What the conformance suite's worker threads import. */
export const createHypervisor = () => new Kvm();
