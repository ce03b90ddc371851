/** Lets a stored model go on with a text, in a compute worker of its own. */
import { totalmem } from "node:os";
import { loadTokenizer } from "../../compute/data/tokenizer.ts";
import { ComputeHost } from "../../compute/host.ts";
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { presets } from "../../compute/model/presets.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import type { OpenOptions } from "../../compute/worker-protocol.ts";
import { FailureError } from "../../protocol/failure.ts";
import { readStage, type StoredModel } from "./stored-model.ts";

export interface WritingOptions {
  readonly prompt: string;
  /** Most tokens to write; fewer when the model ends the document. */
  readonly tokens: number;
  /** 0 takes the likeliest token; 1 draws from the model's own distribution. */
  readonly temperature: number;
  readonly seed: number;
  readonly backend: OpenOptions["backend"];
  readonly threads: number;
  readonly signal: AbortSignal;
  readonly createHost?: () => Host;
}

type Host = Pick<ComputeHost, "call" | "close">;

/** Tokens between two pieces; the text so far is read in again for each. */
const tokensPerPiece = 16;
/** Longer contexts take more memory than text for a person is worth. */
const longestWindow = 2048;

/** Yields the text behind the prompt, piece by piece. Throws `FailureError` of the model and of the worker, and the signal's reason. */
export async function* writeText(stored: StoredModel, options: WritingOptions): AsyncGenerator<string> {
  const { tokens: most, temperature, seed, signal } = options;
  const tokenizer = await loadTokenizer(stored.tokenizer);
  const prompt = tokenizer.encode(options.prompt);
  if (prompt.length === 0)
    throw new FailureError("invalid-option", "The prompt is empty.", { action: "Give --prompt some text." });
  const window = Math.min(stored.model.context, longestWindow);
  const host: Host = options.createHost?.() ?? new ComputeHost();
  const stop = () => void host.close();
  signal.addEventListener("abort", stop);
  try {
    await openModel(host, stored, options, window);
    const written: number[] = [];
    let shown = 0;
    for (let ended = false; !ended; ) {
      signal.throwIfAborted();
      const count = Math.min(tokensPerPiece, most - written.length);
      const context = [...prompt, ...written];
      // Of a full window the later half is kept, so that not every piece fills it again.
      const read = Int32Array.from(context.length + count > window ? context.slice(-Math.ceil(window / 2)) : context);
      const { tokens } = await host.call("generate", {
        prompt: read,
        count,
        temperature,
        seed,
        firstDraw: written.length,
      });
      const end = tokens.indexOf(tokenizer.endOfDocument);
      written.push(...(end === -1 ? tokens : tokens.subarray(0, end)));
      ended = end !== -1 || written.length >= most;
      const text = tokenizer.decode(Int32Array.from(written));
      // Half a character at the end waits for its other half.
      const whole = ended ? text : text.replace(/\uFFFD+$/, "");
      yield whole.slice(shown);
      shown = whole.length;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
    await host.close();
  }
}

async function openModel(
  host: Host,
  stored: StoredModel,
  { backend, threads }: WritingOptions,
  window: number,
): Promise<void> {
  const { model } = stored;
  const stage = wholeModel(model);
  // No step is taken: the mode with the smaller optimizer state, and room for one sequence.
  const training = {
    ...presets.demo.training,
    mode: "sync",
    sequencesPerMicrobatch: 1,
    sequenceLength: window,
  } as const;
  // Weights are also on their way here, and in a message: half of the memory is what the worker may take.
  const memoryLimitBytes = totalmem() / 2;
  await host.call("open", { backend, threads, model, stage, training, memoryLimitBytes });
  const weights = await readStage(stored, stage);
  await host.call("load", { weights, optimizer: new Float32Array(optimizerStateLength("sync", weights.length)) });
}
