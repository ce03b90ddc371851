/** A miner that does nothing by itself: tests say what happens to it and see what was asked of it. */
import { EventEmitter, once } from "node:events";
import type { Miner, MinerActivity, MinerEvent, MinerOptions } from "../../src/miner/miner.ts";
import { noFrameBytes } from "../../src/protocol/frames.ts";
import { type RunId, runIdSchema } from "../../src/protocol/ids.ts";
import { unmeasuredLink } from "../../src/protocol/link-report.ts";
import type { MachineView, MinerState } from "../../src/protocol/machine-view.ts";
import type { OwnerCommand } from "../../src/protocol/owner-commands.ts";
import type { TrafficLimits } from "../../src/transport/traffic/traffic.ts";

export class FakeMiner implements Miner {
  readonly options: MinerOptions;
  state: MinerState = { kind: "connecting", reason: "looking for the network" };
  network: MachineView["network"];
  networkId: string | null = null;
  activity: MinerActivity = {
    tokensPerSecond: 0,
    tokensForward: 0,
    tokensBackward: 0,
    bytesSent: 0,
    bytesReceived: 0,
    microbatchesInFlight: 0,
    trainingSeconds: 0,
  };
  link: Miner["link"] = unmeasuredLink;
  readonly peers = [];
  readonly sentFrames = noFrameBytes;
  work: Miner["work"] = null;
  workers: readonly number[] = [];
  opened = false;
  closedWithGraceMs: number | null = null;
  active: { readonly active: boolean; readonly reason: string } | null = null;
  limits: TrafficLimits;
  payoutAddress: MinerOptions["payoutAddress"];
  hotkey: MinerOptions["hotkey"];
  readonly commands: OwnerCommand[] = [];
  /** What `command` fails with, when set. */
  commandError: Error | null = null;
  #listener: (event: MinerEvent) => void = () => {};
  readonly #calls = new EventEmitter();

  constructor(options: MinerOptions) {
    this.options = options;
    this.limits = options.limits;
    this.payoutAddress = options.payoutAddress;
    this.hotkey = options.hotkey;
    this.network = { url: options.networkUrl, connected: false, reason: "not connected yet" };
  }

  /** Makes `event` happen. */
  emit(event: MinerEvent): void {
    if (event.type === "state") {
      this.state = event.state;
      this.network = event.network;
    }
    this.#listener(event);
  }

  /** Resolves at the next call of `setActive`. */
  async nextSetActive(): Promise<void> {
    await once(this.#calls, "setActive");
  }

  onEvent(listener: (event: MinerEvent) => void): void {
    this.#listener = listener;
  }

  setPayoutAddress(address: MinerOptions["payoutAddress"]): void {
    this.payoutAddress = address;
  }

  setHotkey(proof: MinerOptions["hotkey"]): void {
    this.hotkey = proof;
  }

  open(): void {
    this.opened = true;
  }

  setActive(active: boolean, reason: string): void {
    this.active = { active, reason };
    this.emit({
      type: "state",
      state: active ? { kind: "waiting", reason: "waiting for a place" } : { kind: "paused", reason },
      network: this.network,
    });
    this.#calls.emit("setActive");
  }

  limit(limits: TrafficLimits): void {
    this.limits = limits;
  }

  async command(command: OwnerCommand): Promise<RunId> {
    if (this.commandError !== null) throw this.commandError;
    this.commands.push(command);
    return command.type === "create-run" ? (command.run.runId ?? runIdSchema.parse("created")) : command.runId;
  }

  async close(graceMs: number): Promise<void> {
    this.closedWithGraceMs = graceMs;
  }
}
