import type { OsSecrets } from "../../src/miner/key-store/os-secrets.ts";

/** An operating system's key store in memory, whose owner may lock it or lose what is in it. */
export class FakeOsSecrets implements OsSecrets {
  readonly entries = new Map<string, string>();
  /** What each call rejects with; null: it works. */
  failure: Error | null = null;
  /** Whether it takes what it does not keep. */
  forgetful = false;

  async read(account: string): Promise<string | null> {
    this.#failIfTold();
    return this.entries.get(account) ?? null;
  }

  async write(account: string, secret: string): Promise<void> {
    this.#failIfTold();
    if (!this.forgetful) this.entries.set(account, secret);
  }

  async remove(account: string): Promise<void> {
    this.#failIfTold();
    this.entries.delete(account);
  }

  #failIfTold(): void {
    if (this.failure !== null) throw this.failure;
  }
}
