#!/usr/bin/env node
/**
 * The `supermachine` command. This file loads nothing but what starts a machine's threads: they get
 * up while the rest of the program is loaded.
 *
 * @packageDocumentation
 */
import { prepareEarly } from "./cli/prepare.js";

const prepared = prepareEarly(process.argv.slice(2));
const { main } = await import("./cli/program.js");
await main(process.argv, prepared);
