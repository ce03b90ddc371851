#!/usr/bin/env node
import { passLargeBuffersOn } from "../protocol/large-buffers.ts";
import { runCommandLine } from "./program.ts";

passLargeBuffersOn();
process.exitCode = await runCommandLine(process.argv.slice(2), process);
