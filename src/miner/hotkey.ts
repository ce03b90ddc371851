/**
 * The Bittensor hotkey whose owner vouches for this miner, as it is now: `hotkey.json` in the state folder, which only a proof that holds
 * gets into. It is nothing secret.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { fileFailure, readFileIfPresent, writeFileAtomically } from "../disk/atomic-file.ts";
import { FailureError, failureOf } from "../protocol/failure.ts";
import {
  type HotkeyClaim,
  type HotkeyProof,
  hotkeyProofSchema,
  hotkeyStatement,
  lastDayOf,
  mustBeSignedFor,
  mustHold,
  readHotkeyClaim,
} from "../protocol/hotkey-proof.ts";
import { type MinerId, minerIdSchema } from "../protocol/ids.ts";
import type { CommandResult } from "../protocol/local-api.ts";
import type { MachineView } from "../protocol/machine-view.ts";
import { parseJson } from "./json.ts";

export class HotkeyInForce {
  readonly #file: string;
  readonly #minerId: MinerId;
  #proof: HotkeyProof | null;

  /** What is none, or another miner's, is passed over, and `onLost` hears of it. Throws `FailureError` (file-unreadable). */
  constructor(stateFolder: string, minerId: MinerId, onLost: (text: string) => void) {
    this.#file = join(stateFolder, "hotkey.json");
    this.#minerId = minerId;
    try {
      this.#proof = storedProof(this.#file, minerId);
    } catch (error) {
      if (!(error instanceof z.ZodError) && failureOf(error)?.code !== "bad-signature") throw error;
      onLost(`${this.#file} holds no proof of a hotkey for this machine's key: sign a new statement`);
      this.#proof = null;
    }
  }

  get proof(): HotkeyProof | null {
    return this.#proof;
  }

  get view(): MachineView["hotkey"] {
    if (this.#proof === null) return null;
    const { address, networkId, until } = this.#proof;
    return { address, networkId, until };
  }

  /** What is to be signed for the network that the miner has last been connected to. Throws `FailureError` (wrong-state). */
  statement(network: string | null, nowMs: number): CommandResult<"hotkey-statement"> {
    const stated = { minerId: this.#minerId, networkId: known(network), until: lastDayOf(nowMs) };
    return { ...stated, statement: hotkeyStatement(stated) };
  }

  /**
   * Keeps what was signed, once it is checked. Throws `FailureError`, and keeps what there was: invalid-option, not-authorised,
   * bad-signature, wrong-state, disk-full, file-unreadable.
   */
  prove(given: HotkeyClaim, network: string | null, nowMs: number): void {
    const claim = readHotkeyClaim(given);
    const proof = { ...claim, networkId: known(network) };
    mustHold(proof, { networkId: proof.networkId, nowMs });
    mustBeSignedFor(this.#minerId, proof);
    writeFileAtomically(this.#file, `${JSON.stringify(proof, null, 2)}\n`);
    this.#proof = proof;
  }

  /** Throws `FailureError` (file-unreadable). */
  forget(): void {
    try {
      rmSync(this.#file, { force: true });
    } catch (cause) {
      throw fileFailure(`${this.#file} cannot be removed`, cause);
    }
    this.#proof = null;
  }
}

/** Null: there is none. Throws `ZodError`, and `FailureError` (bad-signature, file-unreadable). */
function storedProof(file: string, minerId: MinerId): HotkeyProof | null {
  const text = readFileIfPresent(file);
  if (text === null) return null;
  const proof = hotkeyProofSchema.parse(parseJson(text));
  mustBeSignedFor(minerId, proof);
  return proof;
}

/** A network's id comes from the network, and people paste it into a shell: it must be what it should be. */
function known(network: string | null): MinerId {
  const networkId = minerIdSchema.safeParse(network);
  if (networkId.success) return networkId.data;
  throw new FailureError("wrong-state", "This machine has not been connected to its network since it started.", {
    action: "The statement names the network: wait until tah status says that it is connected.",
    retry: true,
  });
}
