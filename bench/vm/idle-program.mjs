// @ts-check
// A program that has loaded the library, and runs a machine once its parent says how.
import { boot } from "./machine.mjs";

process.once("message", async (/** @type {import("./machine.mjs").Isolation} */ isolation) => {
  const vm = await boot(isolation);
  await vm.exec(["true"]);
  process.send?.("started");
});
process.send?.("ready");
