import { describe, expect, it } from "vitest";
import { encodeRows } from "../../compute/codec/rows.ts";
import { rowFormatSchema } from "../../protocol/run-config.ts";
import { payloadDigest } from "../../protocol/transfer-record.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { FakeSwarm, tokensPerMicrobatch } from "./fake-swarm.ts";
import { checkInbound } from "./inbound.ts";
import { Routes } from "./routes.ts";
import { Transfers } from "./transfers.ts";

describe("an activation that another replica sends", () => {
  const swarm = new FakeSwarm(3, 1);
  const [source, middle] = [swarm.member(0, 0), swarm.member(1, 0)];
  swarm.start();
  const routes = new Routes(swarm.roster(), middle.id, swarm.training.microbatchesPerStep, new FakeClock());
  const rows = tokensPerMicrobatch;

  async function check(payload: Uint8Array, columns: number, rank?: number): Promise<void> {
    const place = await swarm.place(1);
    const { fromLayer, toLayer } = place.stage;
    const bottleneck = rank === undefined ? undefined : { rank, hidden: 2, beforeLayers: [fromLayer, toLayer] };
    const { epoch, attempt } = place.at;
    const message = {
      epoch,
      attempt,
      step: 0,
      microbatch: 0,
      sequences: 2,
      stage: 1,
      path: [source.id],
      rows,
      columns,
    };
    const withRank = { ...place, model: { ...place.model, bottleneck } };
    const about = { networkId: "network", place: withRank, routes, accuse: () => {} };
    const digest = payloadDigest(payload);
    const sourcePlace = await swarm.place(0);
    const sender = new Transfers({ ...about, place: sourcePlace, self: source.id, sign: source.sign });
    const signature = sender.sign({ kind: "forward", step: 0, index: 0, digest, origin: null });
    const transfers = new Transfers({ ...about, self: middle.id, sign: middle.sign });
    checkInbound(
      source.id,
      "forward",
      { ...message, payload, signature, origin: null },
      { place: withRank, self: middle.id, routes, transfers },
    );
  }
  const payload = (columns: number, format: (typeof rowFormatSchema.options)[number] = "f32") =>
    encodeRows(new Float32Array(rows * columns).fill(1), { rows, columns }, { format, noise: null });

  it.each(rowFormatSchema.options)("is taken in %s", (format) =>
    expect(check(payload(4, format), 4)).resolves.toBeUndefined(),
  );

  it("has the bottleneck's channels where the model has one", async () => {
    await check(payload(2), 2, 2);
    await expect(check(payload(4), 4, 2)).rejects.toThrow("a tensor");
  });

  it("is refused with another length than its format has, before anybody allocates for it", async () => {
    for (const wrong of [payload(4).subarray(1), payload(8), payload(4).subarray(0, 1)])
      await expect(check(wrong, 4)).rejects.toThrow("a payload of");
    await expect(check(payload(1000), 1000)).rejects.toThrow("a tensor");
  });

  it("is refused in a format that there is not", async () => {
    const unknown = payload(4);
    unknown[0] = 99;
    await expect(check(unknown, 4)).rejects.toThrow("unknown format");
  });
});
