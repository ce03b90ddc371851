/**
 * The Bittensor hotkeys whose owners vouch for miners: `hotkeys.json` in the network's state folder. A running network writes it, and
 * `tah network hotkeys` reads it, whether the network runs or not. Several miners may have the same one: each has its own statement.
 */
import { join } from "node:path";
import { z } from "zod";
import { readFileIfPresent, writeFileAtomically } from "../disk/atomic-file.ts";
import { FailureError, failureOf } from "../protocol/failure.ts";
import {
  type HotkeyProof,
  hotkeyProofSchema,
  mustBeSignedFor,
  mustHold,
  type Occasion,
  reasonAgainst,
} from "../protocol/hotkey-proof.ts";
import { type MinerId, minerIdSchema, shortId } from "../protocol/ids.ts";

/** With the signature, so that anybody can check it again. */
export const minerHotkeySchema = hotkeyProofSchema.extend({ minerId: minerIdSchema });
export type MinerHotkey = Readonly<z.infer<typeof minerHotkeySchema>>;

/** Those that hold now. Throws `FailureError` (state-corrupt, file-unreadable). */
export function readHotkeys(stateFolder: string, occasion: Occasion): readonly MinerHotkey[] {
  const path = pathIn(stateFolder);
  const text = readFileIfPresent(path);
  if (text === null) return [];
  try {
    return inForce(z.array(minerHotkeySchema).parse(JSON.parse(text)), occasion);
  } catch (cause) {
    throw new FailureError("state-corrupt", `${path} is not a list of hotkeys.`, {
      action: "Restore it from a backup, or move it away: miners present theirs again in their next sessions.",
      cause,
    });
  }
}

export interface HotkeyRegisterOptions {
  readonly stateFolder: string;
  readonly networkId: string;
  /** Only of keys that have earned something hotkeys are kept, and their signatures checked: other keys cost nothing to make. */
  readonly hasReceipts: (minerId: MinerId) => Promise<boolean>;
  readonly clock: () => number;
  readonly log: (text: string) => void;
}

/** What miners prove, for a running network. */
export class HotkeyRegister {
  readonly #options: HotkeyRegisterOptions;
  #known: readonly MinerHotkey[];
  /** Ends with the last word that was taken: a miner's next one must not overtake it. */
  #taken: Promise<void> = Promise.resolve();

  /** Throws as `readHotkeys`. */
  constructor(options: HotkeyRegisterOptions) {
    this.#options = options;
    this.#known = readHotkeys(options.stateFolder, this.#occasion);
  }

  /**
   * What a miner said in a session of its key; null: no hotkey any longer. Rejects with `FailureError`: not-authorised, bad-signature,
   * disk-full, file-unreadable.
   */
  take(minerId: MinerId, proof: HotkeyProof | null): Promise<void> {
    const taken = this.#taken.then(() => this.#take(minerId, proof));
    this.#taken = taken.catch(() => undefined);
    return taken;
  }

  async #take(minerId: MinerId, proof: HotkeyProof | null): Promise<void> {
    const { hasReceipts, log } = this.#options;
    if (proof !== null) mustHold(proof, this.#occasion);
    // Said again in every session: nothing is checked or written for that.
    if (isSame(this.#known.find((known) => known.minerId === minerId) ?? null, proof)) return;
    if (proof !== null) {
      // It is said again with the first receipt.
      if (!(await hasReceipts(minerId))) return;
      mustBeSignedFor(minerId, proof);
    }
    const others = inForce(this.#known, this.#occasion).filter((known) => known.minerId !== minerId);
    const known = proof === null ? others : [...others, { minerId, ...proof }];
    this.#keep(known);
    log(`${shortId(minerId)} ${proof === null ? "has no hotkey any longer" : `has the hotkey ${proof.address}`}`);
  }

  #keep(known: readonly MinerHotkey[]): void {
    const { stateFolder, log } = this.#options;
    try {
      writeFileAtomically(pathIn(stateFolder), `${JSON.stringify(known, null, 2)}\n`);
      this.#known = known;
    } catch (cause) {
      const failure = failureOf(cause);
      if (failure === undefined) throw cause;
      log(`a hotkey was not kept: ${failure.message}`);
      // The network's files are none of the miner's business.
      const action = "The miner presents it again in its next session.";
      throw new FailureError(failure.code, "The network cannot keep the hotkey now.", { action, retry: true, cause });
    }
  }

  get #occasion(): Occasion {
    return { networkId: this.#options.networkId, nowMs: this.#options.clock() };
  }
}

function inForce(known: readonly MinerHotkey[], occasion: Occasion): readonly MinerHotkey[] {
  return known.filter((proof) => reasonAgainst(proof, occasion) === null);
}

function isSame(one: HotkeyProof | null, other: HotkeyProof | null): boolean {
  if (one === null || other === null) return one === other;
  return one.signature === other.signature && one.address === other.address && one.until === other.until;
}

function pathIn(stateFolder: string): string {
  return join(stateFolder, "hotkeys.json");
}
