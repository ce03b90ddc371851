/** Everything that the bench does to a swarm. One entry each; whom it meets, and when, is drawn by seed. */
import { fairWeather, type Weather } from "../../lab/chaos/weather.ts";
import { type Disturbance, inMidTraining, oneOfEachStage, type Scenario, seconds, shuffled } from "./scenario.ts";

/** Of frames, when they are. */
const mishandledShare = 0.05;
const messageDelayMs = 2_000;

/** What is left of a miner's time when it is ten times slower; it runs in slices, as beside a game. */
const slowShare = 0.1;
const slicesPerSecond = 10;

export const scenarios: readonly Scenario[] = [
  {
    name: "single-kill",
    about: "one miner of each stage in turn is killed in mid-training, and started again by its service manager",
    minutes: 1,
    recoverySecondsAtMost: 3,
    partitionsLostAtMost: 0,
    async disturb({ swarm, seconds: total, lots, mark }) {
      const { stages } = swarm.options;
      for (let stage = 0; stage < stages; stage++) {
        await inMidTraining(swarm);
        mark();
        lots.pick(swarm.replicasOf(stage)).service.kill();
        await seconds(total / stages / 2);
      }
      return { kills: stages };
    },
  },
  {
    name: "kills",
    about: "10 % of the miners per minute are killed at random, and started again by their service managers",
    minutes: 3,
    goodputAtLeast: 0.92,
    async disturb({ swarm, seconds: total, lots, mark }) {
      const kills = Math.max(1, Math.round((0.1 * swarm.miners.length * total) / 60));
      const times = Array.from({ length: kills }, () => lots.draw() * total).sort((a, b) => a - b);
      let passed = 0;
      for (const time of times) {
        await seconds(time - passed);
        passed = time;
        mark();
        lots.pick(swarm.miners).service.kill();
      }
      await seconds(total - passed);
      return { kills };
    },
  },
  {
    name: "all-but-one",
    about: "all replicas of a stage but one lose power at once, and come back a third of the time later",
    minutes: 1,
    async disturb({ swarm, seconds: total, lots, mark }) {
      const stage = Math.floor(lots.draw() * swarm.options.stages);
      const [, ...victims] = shuffled(swarm.replicasOf(stage), lots);
      await inMidTraining(swarm);
      mark();
      await Promise.all(victims.map(({ service }) => service.unplug()));
      await seconds(total / 3);
      for (const { service } of victims) service.start();
      await seconds((2 * total) / 3);
      return { stage, victims: victims.length, secondsAway: total / 3 };
    },
  },
  {
    name: "whole-stage",
    about: "all replicas of a stage are killed at once, and started again by their service managers",
    minutes: 1,
    async disturb({ swarm, seconds: total, lots, mark }) {
      const stage = Math.floor(lots.draw() * swarm.options.stages);
      await inMidTraining(swarm);
      mark();
      for (const { service } of swarm.replicasOf(stage)) service.kill();
      await seconds(total);
      return { stage };
    },
  },
  {
    name: "orchestrator-kills",
    about: "the orchestrator is killed every 30 s, and started again by its service manager",
    minutes: 1.5,
    async disturb({ swarm, seconds: total, mark }) {
      const kills = Math.max(1, Math.floor(total / 30));
      for (let kill = 0; kill < kills; kill++) {
        mark();
        swarm.orchestrator.kill();
        await seconds(total / kills);
      }
      return { kills };
    },
  },
  weatherScenario("messages-dropped", "5 % of all frames never arrive", { dropped: mishandledShare }),
  weatherScenario("messages-duplicated", "5 % of all frames arrive twice", { duplicated: mishandledShare }),
  weatherScenario("messages-reordered", "5 % of all frames are overtaken", { reordered: mishandledShare }),
  weatherScenario("messages-delayed", "5 % of all frames arrive 2 s late, behind others", {
    delayed: mishandledShare,
    delayMs: messageDelayMs,
  }),
  weatherScenario("messages-mishandled", "5 % of all frames are dropped, 5 % doubled, 5 % overtaken, 5 % 2 s late", {
    dropped: mishandledShare,
    duplicated: mishandledShare,
    reordered: mishandledShare,
    delayed: mishandledShare,
    delayMs: messageDelayMs,
  }),
  {
    name: "partition",
    about: "a part of the network with one replica of each stage is cut off for 60 s (less, with fewer minutes)",
    minutes: 1.5,
    async disturb({ swarm, seconds: total, lots, mark }) {
      const partitionSeconds = Math.min(60, (2 * total) / 3);
      const cut = oneOfEachStage(swarm, lots);
      mark();
      for (const { link } of cut) link.partition(true);
      await seconds(partitionSeconds);
      for (const { link } of cut) link.partition(false);
      await seconds(total - partitionSeconds);
      return { partitionSeconds, miners: cut.length };
    },
  },
  {
    name: "slow-miner",
    about: "a miner is ten times slower: it runs a tenth of the time, in slices",
    minutes: 1,
    async disturb({ swarm, seconds: total, lots }) {
      const { service } = lots.pick(swarm.miners);
      for (let slice = 0; slice < total * slicesPerSecond; slice++) {
        service.freeze();
        await seconds((1 - slowShare) / slicesPerSecond);
        service.thaw();
        await seconds(slowShare / slicesPerSecond);
      }
      return {};
    },
  },
  {
    name: "sleeping-miner",
    about: "a miner sleeps for 5 minutes (less, with fewer minutes), and wakes up as if nothing had been",
    minutes: 1.5,
    async disturb({ swarm, seconds: total, lots, mark }) {
      const sleepSeconds = Math.min(300, (2 * total) / 3);
      const { service } = lots.pick(swarm.miners);
      mark();
      service.freeze();
      await seconds(sleepSeconds);
      service.thaw();
      await seconds(total - sleepSeconds);
      return { sleepSeconds };
    },
  },
  {
    name: "disk-full",
    about: "the orchestrator's disk is full for half of the time",
    minutes: 1,
    smallDisk: true,
    async disturb({ swarm: { disk }, seconds: total }) {
      disk?.fill();
      await seconds(total / 2);
      disk?.free();
      await seconds(total / 2);
      return { secondsFull: total / 2 };
    },
  },
  {
    name: "joiners",
    about: "every 10 s a new miner joins, and leaves 30 s later: in good order, or killed, by turns",
    minutes: 1.5,
    async disturb({ swarm, seconds: total }) {
      const [everySeconds, staySeconds] = [10, 30];
      const stays: Promise<void>[] = [];
      for (let joiner = 0; joiner < Math.floor(total / everySeconds); joiner++) {
        const { service } = await swarm.addMiner();
        const leave = () => (joiner % 2 === 0 ? service.stop(3_000) : service.unplug());
        stays.push(seconds(staySeconds).then(leave));
        await seconds(everySeconds);
      }
      await Promise.all(stays);
      return { joiners: stays.length };
    },
  },
];

function weatherScenario(name: string, about: string, weather: Partial<Weather>): Scenario {
  return {
    name,
    about,
    minutes: 1,
    async disturb({ swarm, seconds: total }: Disturbance) {
      for (const { link } of swarm.miners) link.weather = { ...fairWeather, ...weather };
      await seconds(total);
      for (const { link } of swarm.miners) link.weather = fairWeather;
      return {};
    },
  };
}
