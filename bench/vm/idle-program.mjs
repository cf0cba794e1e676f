// @ts-check
// A program that has loaded the library, and runs a machine inline once its parent says so.
import { boot } from "./machine.mjs";

process.once("message", async () => {
  const vm = await boot("inline");
  await vm.exec(["true"]);
  process.send?.("started");
});
process.send?.("ready");
