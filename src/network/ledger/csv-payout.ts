/** Settlement by file: one CSV per settlement, for whoever makes the payments. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { Payment, Payout } from "./payout.ts";

export class CsvPayout implements Payout {
  readonly #folder: string;

  /** `folder` is created when missing. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async pay(settlementId: string, payments: readonly Payment[]): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const path = join(this.#folder, `settlement-${settlementId}.csv`);
    const lines = payments.map(({ minerId, address, microCredits }) => `${minerId},${address},${microCredits}\n`);
    const content = `miner,address,micro_credits\n${lines.join("")}`;
    const existing = readFileIfPresent(path);
    if (existing === content) return;
    if (existing !== null)
      throw new FailureError("state-corrupt", `${path} already holds other payments.`, {
        action: "Settle under another id.",
      });
    writeFileAtomically(path, content);
  }
}
