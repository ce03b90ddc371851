#!/usr/bin/env node
import { expectLargeBuffers } from "../protocol/large-buffers.ts";
import { runCommandLine } from "./program.ts";

expectLargeBuffers();
process.exitCode = await runCommandLine(process.argv.slice(2), process);
