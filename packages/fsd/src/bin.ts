#!/usr/bin/env node
/**
 * The `supermachine-fsd` command.
 *
 * @packageDocumentation
 */
import { main } from "./cli/command.js";

process.exitCode = await main(process.argv.slice(2));
