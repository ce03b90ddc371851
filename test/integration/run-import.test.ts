/** A network's owner adds a run that goes on with a model, while the network serves. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { commandNetwork } from "../../src/miner/session/observe.ts";
import { readArchive } from "../../src/network/checkpoints/archive.ts";
import { type RunningNetwork, serveNetwork } from "../../src/network/serve.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import type { Evaluation } from "../../src/protocol/run-view.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { exportFakeModel } from "../network/fake-archive.ts";

const folder = temporaryFolder();
let network: RunningNetwork | undefined;
afterEach(async () => {
  await network?.close();
  rmSync(folder, { recursive: true, force: true });
});

it("an imported model is measured before anybody trains it, and is the run's first checkpoint", async () => {
  const owner = createIdentity();
  const data = join(folder, "text.txt");
  writeFileSync(data, "Call me Ishmael. Some years ago. ".repeat(100));
  const from = await exportFakeModel(folder);
  const stateFolder = join(folder, "network");
  const measured = Promise.withResolvers<Evaluation>();
  network = await serveNetwork({
    port: 0,
    stateFolder,
    owners: [owner.minerId],
    evaluator: { sequences: 2, sampleTokens: 0 },
    log: () => undefined,
    onRunUpdate: ({ evaluations: [evaluation] = [] }) => {
      if (evaluation !== undefined) measured.resolve(evaluation);
    },
  });
  const run = { preset: "tiny", weight: 1, replicas: 1, data, from } as const;
  const runId = await commandNetwork(network.url, owner, { type: "create-run", run });
  const { epoch, tokens, validationLossNats } = await measured.promise;
  expect([epoch, tokens]).toEqual([0, 0]);
  expect(network.states.get(runId)?.checkpoint?.epoch).toBe(0);
  await network.close();
  network = undefined;
  expect(await readArchive(stateFolder)).toMatchObject([{ runId, epoch: 0, validationLossNats }]);
});
