import { describe, expect, it } from "vitest";
import { byteModel, randomWeights } from "../../../test/compute/small-model.ts";
import type { ComputeHost } from "../../compute/host.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import type { ComputeArguments } from "../../compute/worker-protocol.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import type { StoredModel } from "./stored-model.ts";
import { type WritingOptions, writeText } from "./write-text.ts";

type Request = ComputeArguments<"generate">[0];

const layout = stageLayout(byteModel, wholeModel(byteModel));
const weights = randomWeights(byteModel, layout);
const model: StoredModel = {
  model: { ...byteModel, context: 64 },
  tokenizer: "bytes",
  readTensor: async (wanted) => {
    const { offset, length } = layout.tensors.find(({ name }) => name === wanted) ?? expect.fail(wanted);
    return Float32Array.from(weights.subarray(offset, offset + length));
  },
  close: async () => undefined,
};

/** A model that knows one text by heart. */
class FakeHost {
  readonly requests: Request[] = [];
  readonly #text: Uint8Array;
  isClosed = false;

  constructor(text: string) {
    this.#text = new TextEncoder().encode(text);
  }

  call(method: string, request?: unknown): Promise<unknown> {
    if (method !== "generate") return Promise.resolve();
    const asked = request as Request;
    this.requests.push(asked);
    const from = asked.firstDraw ?? 0;
    return Promise.resolve({ tokens: Int32Array.from(this.#text.subarray(from, from + asked.count)) });
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

function startWriting(host: FakeHost, options: Partial<WritingOptions> = {}) {
  return writeText(model, {
    prompt: "Call me ",
    tokens: 200,
    temperature: 1,
    seed: 1,
    backend: "reference",
    threads: 1,
    signal: new AbortController().signal,
    // The compiler cannot know that the fake answers each method with what belongs to it.
    createHost: () => host as unknown as Pick<ComputeHost, "call" | "close">,
    ...options,
  });
}

async function write(text: string, tokens = new TextEncoder().encode(text).length) {
  const host = new FakeHost(text);
  const pieces: string[] = [];
  for await (const piece of startWriting(host, { tokens })) pieces.push(piece);
  return { pieces, host };
}

describe("a model that goes on with a text", () => {
  it("shows whole characters only, and all of them", async () => {
    const text = `${"a".repeat(15)}鯨${"b".repeat(13)}🐋`;
    const { pieces } = await write(text);
    expect(pieces).toEqual(["a".repeat(15), `鯨${"b".repeat(13)}`, "🐋"]);
  });

  it("shows half a character when nothing more comes", async () => {
    expect((await write("Größe", 3)).pieces.join("")).toBe("Gr\uFFFD");
  });

  it("stops where the model ends the document", async () => {
    const { pieces, host } = await write(`The end.\u0000${"x".repeat(100)}`);
    expect(pieces.join("")).toBe("The end.");
    expect(host.requests).toHaveLength(1);
    expect(host.isClosed).toBe(true);
  });

  it("reads no more than the window holds, and numbers its draws on", async () => {
    const { host } = await write("0123456789".repeat(20));
    for (const { prompt, count } of host.requests) expect(prompt.length + count).toBeLessThanOrEqual(64);
    expect(host.requests.map(({ firstDraw }) => firstDraw)).toEqual(host.requests.map((_, piece) => 16 * piece));
    expect(host.requests.reduce((sum, { count }) => sum + count, 0)).toBe(200);
  });

  it("ends with the reason when it is stopped, and leaves no worker behind", async () => {
    const stopping = new AbortController();
    const host = new FakeHost("0123456789".repeat(20));
    const pieces = startWriting(host, { signal: stopping.signal });
    await pieces.next();
    stopping.abort(new FailureError("cancelled", "enough"));
    expect(failureOf(await pieces.next().catch((error: unknown) => error))?.code).toBe("cancelled");
    expect(host.isClosed).toBe(true);
  });
});
