/** Settlement by file: one CSV per settlement, for whoever makes the payments. */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
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
    const lines = payments.map(({ minerId, microCredits }) => `${minerId},${microCredits}\n`);
    const content = `miner,micro_credits\n${lines.join("")}`;
    const existing = await readFile(path, "utf8").catch(undefinedWhenMissing);
    if (existing === content) return;
    if (existing !== undefined)
      throw new FailureError("state-corrupt", `${path} already holds other payments.`, {
        action: "Settle under another id.",
      });
    const unfinished = `${path}.part`;
    const file = await open(unfinished, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  }
}

function undefinedWhenMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
