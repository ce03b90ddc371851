/** Puts the miner together: a session with the network, compute workers, blobs, and the replicas that train. */
import { join } from "node:path";
import { assertNever } from "../protocol/assert-never.ts";
import { type FailureError, failureText } from "../protocol/failure.ts";
import type { GatewayMessage } from "../protocol/gateway-messages.ts";
import { type HotkeyProof, reasonAgainst } from "../protocol/hotkey-proof.ts";
import type { MinerId } from "../protocol/ids.ts";
import type { MachineView } from "../protocol/machine-view.ts";
import { parseNetworkAddress } from "../protocol/network-address.ts";
import { BlobClient } from "../transport/blobs/blob-client.ts";
import { DirectLink } from "../transport/direct/direct-link.ts";
import { DirectNode } from "../transport/direct/direct-node.ts";
import type { FrameLink } from "../transport/frame-link.ts";
import { PeerBlobs } from "../transport/peer-blobs.ts";
import { agentFor } from "../transport/pinned-agent.ts";
import { Traffic } from "../transport/traffic/traffic.ts";
import { ComputeWorker } from "./compute-host/compute-worker.ts";
import { isGranted } from "./credits.ts";
import { DropLog } from "./drop-log.ts";
import { Activity } from "./flow/activity.ts";
import { Places } from "./flow/places.ts";
import type { Miner, MinerEvent, MinerOptions } from "./miner.ts";
import { AdmissionProofs } from "./session/admission-proofs.ts";
import { type Clock, systemClock } from "./session/clock.ts";
import type { Welcome } from "./session/connection.ts";
import { LinkReports } from "./session/link-reports.ts";
import { isSignedByNetwork } from "./session/network-signature.ts";
import { OwnerCommands } from "./session/owner-commands.ts";
import { Session } from "./session/session.ts";
import { ResidualFiles } from "./store/residual-files.ts";

/** For dataset shards and checkpoints; what is being downloaded is never forgotten. */
const maxCacheBytes = 4 * 2 ** 30;
/** For what was rounded away of contributions to stages that other miners hold now. */
const maxResidualBytes = 2 * 2 ** 30;
/** For a pause, what is in flight is handed over within this. */
const handOverMs = 5000;

/** Throws `FailureError` (invalid-option) when the network's address is none. */
export function createMiner(options: MinerOptions, clock: Clock = systemClock): Miner {
  const { identity, name, stateFolder, device, threads, limits, direct, log } = options;
  const { url: networkUrl, invitation, networkId, certificateSha256 } = parseNetworkAddress(options.networkUrl);
  const proofs = new AdmissionProofs(identity.minerId, invitation);
  const agent = agentFor(certificateSha256);
  let { payoutAddress, hotkey } = options;
  /** The network keeps what keys say that have earned something, so it hears it again with the next receipt. */
  let isPayeeKept = false;
  const activity = new Activity();
  let emit: (event: MinerEvent) => void = () => {};
  let network: MachineView["network"] = { url: networkUrl, connected: false, reason: "Not connected yet." };

  /** Of the current session. */
  let link: DirectLink | null = null;
  const traffic = new Traffic(clock);
  traffic.limit(limits);
  const blobs = new BlobClient({
    // The gateway serves blobs on the port of its sessions.
    url: networkUrl.replace(/^ws/, "http"),
    agent,
    token: () => session.blobToken,
    cacheFolder: join(stateFolder, "blobs"),
    maxCacheBytes,
    traffic,
  });
  const session = new Session(
    {
      url: networkUrl,
      networkId,
      agent,
      credentials: { identity, name, role: "miner", prove: (need, network) => proofs.prove(need, network) },
      clock,
      traffic,
      log: (level, text) => log(level, "session", text),
    },
    { opened, message: handle, lost: (failure) => lost(failureText(failure)) },
  );
  const linkReports = new LinkReports({
    clock,
    measure: () => traffic.linkEstimate,
    send: (message) => session.send(message),
  });
  const ownerCommands = new OwnerCommands((message) => session.send(message));
  const drops = new DropLog((text) => log("warning", "session", text));
  const messageDropped = (from: MinerId, { message }: FailureError) => drops.dropped(from, message);
  const peerBlobs = new PeerBlobs({ clock, dropped: messageDropped });
  const places = new Places({
    self: identity.minerId,
    sign: identity.sign,
    networkId: () => session.networkId,
    device,
    threads,
    openEngines: () => new ComputeWorker((text) => log("warning", "compute", text)),
    isSigned: (bytes, signature) => isSignedByNetwork(session.networkId, bytes, signature),
    blobs,
    peerBlobs,
    residuals: new ResidualFiles(join(stateFolder, "error-feedback"), maxResidualBytes),
    activity,
    clock,
    send: (message) => session.send(message),
    onState: () => announce(),
    onRoster: (members) => link?.admit(members),
    log: (level, text) => log(level, "training", text),
  });

  function announce(): void {
    emit({ type: "state", state: places.state, network });
  }

  function opened(relay: FrameLink, { bootstrap }: Welcome): void {
    network = { url: networkUrl, connected: true, reason: "" };
    emit({ type: "run-reset" });
    const logged = (text: string) => log("info", "session", text);
    const dialer = direct && bootstrap.length > 0 ? new DirectNode({ identity, bootstrap, log: logged }) : null;
    link = new DirectLink({
      self: identity.minerId,
      relay,
      dialer,
      traffic,
      clock,
      log: logged,
      dropped: messageDropped,
    });
    places.connected(link);
    linkReports.opened();
    sayPayee();
    announce();
  }

  /** Who earns what this miner earns. */
  function sayPayee(): void {
    isPayeeKept = false;
    session.send({ type: "payout", address: payoutAddress });
    session.send({ type: "hotkey", proof: holdingHotkey() });
  }

  /** Null, too, where this network would refuse it. */
  function holdingHotkey(): HotkeyProof | null {
    if (hotkey === null) return null;
    const reason = reasonAgainst(hotkey, { networkId: session.networkId, nowMs: Date.now() });
    if (reason === null) return hotkey;
    log(
      "warning",
      "session",
      `The proof of the hotkey ${reason}. Sign a new statement: tah hotkey statement prints it.`,
    );
    return null;
  }

  function lost(reason: string): void {
    network = { url: networkUrl, connected: false, reason };
    link?.close();
    link = null;
    ownerCommands.lost();
    linkReports.lost();
    places.disconnected(reason);
    announce();
  }

  function handle(message: GatewayMessage): void {
    switch (message.type) {
      case "prepare":
      case "start":
      case "roster":
      case "upload":
      case "reduce":
      case "apply":
      case "take-snapshot":
      case "store-checkpoint":
      case "abandon-checkpoint":
      case "idle":
        places.handle(message);
        break;
      case "run-update":
        emit({ type: "run-update", update: message.update });
        break;
      case "runs":
        emit({ type: "runs", runs: message.runs });
        break;
      case "assigned":
        places.assigned(message.runId);
        emit({ type: "assigned", runId: message.runId });
        break;
      case "owner-answer":
        ownerCommands.answered(message);
        break;
      case "receipt":
        received(message);
        break;
      case "refused":
        log("warning", "session", `Refused: ${failureText(message.failure)}`);
        break;
      case "challenge":
      case "admission":
      case "welcome":
      case "undeliverable":
        break; // the connection's own business
      default:
        assertNever(message);
    }
  }

  function received({ receipt, signature }: Extract<GatewayMessage, { type: "receipt" }>): void {
    if (!isGranted(receipt, signature, session.networkId, identity.minerId)) {
      const epoch = receipt.at.epoch;
      log("warning", "session", `A receipt for epoch ${epoch} is not signed by this network for this miner.`);
      return;
    }
    emit({ type: "receipt", receipt, signature });
    if (!isPayeeKept) sayPayee();
    isPayeeKept = true;
  }

  return {
    get state() {
      return places.state;
    },
    get network() {
      return network;
    },
    get activity() {
      const nowMs = clock.nowMs();
      const { sentBytes, receivedBytes } = traffic.totals;
      return {
        tokensPerSecond: activity.tokensPerSecond(nowMs),
        tokensForward: activity.tokensForward,
        tokensBackward: activity.tokensBackward,
        bytesSent: sentBytes,
        bytesReceived: receivedBytes,
        microbatchesInFlight: activity.microbatchesInFlight,
        trainingSeconds: activity.trainingSeconds(nowMs),
      };
    },
    get networkId() {
      return session.networkId === "" ? null : session.networkId;
    },
    get link() {
      return traffic.linkEstimate;
    },
    get sentFrames() {
      return traffic.sentFrames;
    },
    get peers() {
      const startedAtMs = Date.now() - clock.nowMs();
      return (link?.ways ?? []).map(({ sinceMs, ...way }) => ({
        ...way,
        sinceMs: Math.round(startedAtMs + sinceMs),
        damaged: places.damagedFrom(way.minerId),
      }));
    },
    get work() {
      return places.places[0] ?? null;
    },
    get workers() {
      return places.workers;
    },
    onEvent: (listener) => {
      emit = listener;
    },
    open: () => session.open(),
    setActive(active, reason) {
      if (active) places.join();
      else void places.leave(reason, handOverMs);
    },
    limit: (asked) => traffic.limit(asked),
    setPayoutAddress(address) {
      payoutAddress = address;
      sayPayee();
    },
    setHotkey(proof) {
      hotkey = proof;
      sayPayee();
    },
    command: (command) => ownerCommands.call(command),
    async close(graceMs) {
      await places.leave("The miner ends.", graceMs);
      session.close();
      link?.close();
      linkReports.lost();
      await places.close();
    },
  };
}
