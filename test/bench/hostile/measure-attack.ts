/** One attack against a swarm in training: undisturbed and attacked epochs in turn, so that what drifts cancels out. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type AttackOrder, stopAttackers } from "./attack-orders.ts";
import type { Attack } from "./attacks.ts";
import type { HostileSwarm, Reading } from "./hostile-swarm.ts";
import { type AttackResult, judge, type Window } from "./judge.ts";

let addresses = 0;

/** Of this computer, and used by nobody yet: what one attack has used up at the network the next one has again. */
function freshAddress(): string {
  addresses += 1;
  return `127.0.${1 + (addresses >> 7)}.${1 + (addresses & 127)}`;
}

/** Who carries an attack out. */
interface Attackers {
  start(): void;
  /** Resolves with how often it was tried. */
  stop(): Promise<number>;
  /** At once, when nothing can be measured any more. */
  kill(): void;
}

export async function measureAttack(attack: Attack, swarm: HostileSwarm, rounds: number): Promise<AttackResult> {
  const undisturbed: Window[] = [];
  const attacked: Window[] = [];
  let attempts = 0;
  const linesBefore = swarm.logLines;
  let reading: Reading = await swarm.nextEpoch();
  const window = async (): Promise<Window> => {
    const from = reading;
    reading = await swarm.nextEpoch();
    return { from, to: reading };
  };
  for (let round = 0; round < rounds; round++) {
    const attackers = attack.rogue ? rogueOf(swarm) : strangersTo(swarm, attack.name, freshAddress());
    try {
      undisturbed.push(await window());
      attackers.start();
      attacked.push(await window());
      attempts += await attackers.stop();
    } catch (error) {
      attackers.kill();
      throw error;
    }
  }
  undisturbed.push(await window());
  const logLines = swarm.logLines - linesBefore;
  return judge(attack, { undisturbed, attacked, attempts, crashes: swarm.crashes, logLines });
}

/** A process that loads what it needs and waits; when it stops it ends, and all that it had open with it. */
function strangersTo(swarm: HostileSwarm, name: string, localAddress: string): Attackers {
  const process = fork(fileURLToPath(new URL("./attacker-process.ts", import.meta.url)), [name], { execArgv: [] });
  return {
    start: () => process.send({ target: swarm.targetFrom(localAddress) } satisfies AttackOrder, () => undefined), // `stop` tells
    stop: () => stopAttackers(process),
    kill: () => process.kill("SIGKILL"),
  };
}

function rogueOf(swarm: HostileSwarm): Attackers {
  return {
    start: () => swarm.startRogue(),
    stop: () => swarm.stopRogue(),
    kill: () => undefined, // it ends with its swarm
  };
}
