/** Carries out what the network's owners ask for, and what nobody else may. */
import { isAbsolute } from "node:path";
import { tokenizerIdSchema } from "../../compute/data/tokenizer.ts";
import { type PresetName, presets } from "../../compute/model/presets.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import { isCheckpointName, type MinerId, type RunId } from "../../protocol/ids.ts";
import type { NewRun, OwnerAnswer, OwnerCommand, SteerAction } from "../../protocol/owner-commands.ts";
import type { RunOptions } from "../run-options.ts";
import type { Runs } from "./runs.ts";

/** The record has no other keys. */
const presetNames = Object.keys(presets) as readonly PresetName[];
const onOrchestratorsComputer = "It must lie on the orchestrator's computer: give its absolute path there.";

const internalFailure = new FailureError("internal-error", "The network met a bug at this command.", {
  action: "Its log says more.",
}).failure;

export interface OwnerDeskOptions {
  readonly runs: Runs;
  /** Keys of those who may create, steer and delete runs. */
  readonly owners: ReadonlySet<MinerId>;
  readonly onBug: (error: unknown) => void;
}

export class OwnerDesk {
  readonly #options: OwnerDeskOptions;

  constructor(options: OwnerDeskOptions) {
    this.#options = options;
  }

  /** Never rejects: what went wrong is in the answer. */
  async answer(minerId: MinerId, command: OwnerCommand): Promise<OwnerAnswer> {
    const { runs, owners, onBug } = this.#options;
    try {
      if (!owners.has(minerId))
        throw new FailureError("not-authorised", "Only the network's owner creates, steers and deletes its runs.", {
          action: "Serve the network with --owner and this miner's key.",
        });
      return { ok: true, runId: await carryOut(runs, command) };
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) onBug(error);
      return { ok: false, failure: failure ?? internalFailure };
    }
  }
}

/** May be repeated: what is so already stays so. Rejects with `FailureError`: not-found, wrong-state, or as `Runs.create`. */
async function carryOut(runs: Runs, command: OwnerCommand): Promise<RunId> {
  switch (command.type) {
    case "create-run":
      return createRun(runs, command.run);
    case "steer-run":
      return steer(runs, command.runId, command.action);
    case "reweight-run":
      await runs.reweight(runs.get(command.runId), command.weight);
      return command.runId;
    case "delete-run":
      await runs.delete(runs.get(command.runId));
      return command.runId;
    default:
      return assertNever(command);
  }
}

async function createRun(runs: Runs, { weight, ...asked }: NewRun): Promise<RunId> {
  const folder = asked.from !== undefined && isCheckpointName(asked.from) ? undefined : asked.from;
  for (const path of [asked.data, folder])
    if (path !== undefined && !isAbsolute(path))
      throw new FailureError("invalid-option", `${path} is no absolute path.`, { action: onOrchestratorsComputer });
  const options: RunOptions = {
    ...asked,
    preset: oneOf("preset", presetNames, asked.preset),
    tokenizer:
      asked.tokenizer === undefined ? undefined : oneOf("tokenizer", tokenizerIdSchema.options, asked.tokenizer),
  };
  try {
    const run = await runs.create(options, weight);
    if (run.weight === weight) return run.runId;
    throw new FailureError("invalid-option", `The run ${run.runId} is there already, with the weight ${run.weight}.`, {
      action: `Change that by tah run weight ${run.runId} ${weight}.`,
    });
  } catch (error) {
    const failure = failureOf(error);
    if (failure?.code !== "file-unreadable") throw error;
    throw new FailureError(failure.code, failure.message, { action: onOrchestratorsComputer, cause: error });
  }
}

async function steer(runs: Runs, runId: RunId, action: SteerAction): Promise<RunId> {
  const { orchestrator, state } = runs.get(runId);
  if (state.phase.name === "finished" && action !== "finish")
    throw new FailureError("wrong-state", `The run ${runId} has ended: there is nothing to ${action}.`);
  orchestrator.submit({ type: "steered", action });
  await orchestrator.settled();
  return runId;
}

function oneOf<N extends string>(what: string, names: readonly N[], name: string): N {
  const known = names.find((one) => one === name);
  if (known !== undefined) return known;
  throw new FailureError("invalid-option", `There is no ${what} ${name}.`, {
    action: `There are ${names.join(", ")}.`,
  });
}
