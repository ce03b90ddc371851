/** A daemon with a fake miner, as a process of its own, for tests that kill it. Prints its address; argument: the state folder. */
import { startDaemonWorld } from "../contract/local-api-world.ts";

const [stateFolder] = process.argv.slice(2);
if (stateFolder === undefined) throw new Error("usage: daemon-process.ts STATE_FOLDER");
const { daemon } = await startDaemonWorld({ stateFolder });
process.stdout.write(`${JSON.stringify(daemon.address)}\n`);
