/** Every text of the dashboard, in English. Values come in already formatted. */

import type { MinerState, ProcessView } from "../../protocol/machine-view.ts";
import type { PlanCost } from "../../protocol/plan-view.ts";
import type { BoundaryAlarm, Phase } from "../../protocol/run-view.ts";
import type { ConnectionLoss } from "../api/dashboard-api.ts";
import type { ShownState } from "../features/network/network-view.ts";

const plural = (count: number, one: string, many: string) => (count === 1 ? one : many);

export const english = {
  locale: "en",
  app: "Train at Home",
  unknown: "–",

  connection: {
    open: "Connected to the daemon",
    connecting: "Connecting to the daemon",
    lost: "The daemon is gone",
    refused: "Not allowed in",
    loss: {
      unreachable: "The program that trains on this computer does not answer.",
      stopped: "The program that trains on this computer was stopped.",
      "out-of-step": "An update was missed; fetching everything anew.",
      malformed: "The daemon said something that this page does not understand.",
    } satisfies Record<ConnectionLoss, string>,
    connectingDetail: "Looking for the program that trains on this computer.",
    refusedDetail:
      "This page's token is missing or no longer valid. Open the dashboard again from the tray, or with “npm start”.",
    retryIn: (duration: string) => `Trying again in ${duration}.`,
    stale: "What you see is the last that was known.",
    tryNow: "Try now",
  },

  theme: { label: "Theme", dark: "Dark", light: "Light", toDark: "Use dark colours", toLight: "Use light colours" },

  intent: {
    start: "Start training",
    pause: "Pause",
    starting: "Starting…",
    pausing: "Pausing…",
    failed: (reason: string) => `That did not work: ${reason}`,
  },

  machineState: {
    connecting: () => "Connecting",
    waiting: () => "Waiting",
    preparing: (stage: string) => `Preparing ${stage}`,
    training: (stage: string) => `Training ${stage}`,
    merging: (stage: string) => `Merging ${stage}`,
    paused: () => "Paused",
    stopped: () => "Stopped: needs your attention",
  } satisfies Record<MinerState["kind"], (stage: string) => string>,

  phase: {
    waiting: "Waiting for miners",
    preparing: "Preparing",
    training: "Training",
    uploading: "Uploading",
    merging: "Merging",
    storing: "Storing the checkpoint",
    paused: "Run paused",
    finished: "Finished",
  } satisfies Record<Phase, string>,

  run: {
    title: "Run",
    none: "No run yet",
    noneDetail: "The network has not told of a run so far.",
    epoch: (epoch: string) => `Epoch ${epoch}`,
    epochProgress: (epoch: string) => `Progress of epoch ${epoch}`,
    of: (done: string, planned: string) => `${done} of ${planned} microbatches`,
    pauseForAll: "Pause the run",
    resumeForAll: "Resume the run",
    facts: {
      parameters: ["Parameters", "Numbers that the model learns."],
      shape: ["Layers × width", "Blocks of the model, and the channels that run through them."],
      tokenizer: ["Tokenizer", "How text becomes tokens, and how many different tokens there are."],
      mode: ["Mode", "How often the replicas of a stage average what they learned."],
      stages: ["Stages", "Parts the model is cut into, and the machines that hold them."],
      epoch: ["Epoch", "The span between two merges. A failed epoch is tried again from the last checkpoint."],
      lost: ["Microbatches lost", "Pieces of work given up because a machine went away; others go on without them."],
      partitionsLost: [
        "Parts not merged",
        "Parts of the model that kept their value in a merge because too many machines went away.",
      ],
      staleness: [
        "Staleness",
        "Optimizer steps between a microbatch's way forth and its way back, in the epoch in progress.",
      ],
      checkpoint: ["Checkpoint", "The stored state that the run would go on from."],
      phaseSince: ["Phase since", "When the present phase began."],
    } satisfies Record<string, readonly [string, string]>,
    modes: { sync: "merge every step", "local-steps": "merge every epoch" },
    shape: (layers: string, width: string) => `${layers} × ${width}`,
    tokenizer: (name: string, vocabulary: string) => `${name}, ${vocabulary}`,
    stages: (stages: string, miners: string) => `${stages} on ${miners} miners`,
    attempt: (epoch: string, attempt: string) => `${epoch}, attempt ${attempt}`,
    checkpoint: (epoch: string, tokens: string) => `epoch ${epoch}, ${tokens} tokens`,
    noCheckpoint: "none yet",
    staleness: (mean: string, most: string) => `${mean} on average, ${most} at most`,
  },

  compression: {
    title: "What the run sends",
    facts: {
      formats: [
        "Formats",
        "How numbers cross from stage to stage in this epoch: activations forward, their gradients back.",
      ],
      channels: [
        "Channels",
        "Numbers for each token that cross: the model’s width, or what its bottleneck leaves of it.",
      ],
      perToken: ["Per token", "Bytes over each boundary between stages, forward and back."],
      ratio: ["Less than bf16", "How much less that is than the full width in bf16, both ways together."],
      merge: [
        "Merges",
        "What a replica’s contribution to a merge takes. In full precision it is 4 bytes for each parameter.",
      ],
      speed: [
        "Expected speed",
        "Of what the machines could compute, how much waiting for each other and for their connections is expected to leave.",
      ],
      gap: ["Expected cost", "How much loss compressing is expected to cost, against the same training uncompressed."],
      step: [
        "A step takes",
        "Tokens between two steps of the optimizer, of all sources. More keep machines and connections busier, and teach less each.",
      ],
      epoch: [
        "Merged",
        "How often the replicas of a stage become one again. It follows their connections in runs that adapt.",
      ],
      exchange: ["Steps", "What a replica sends of each optimizer step, where steps are averaged as well."],
    } satisfies Record<string, readonly [string, string]>,
    costs: "What each part is expected to send",
    columns: {
      part: "What a replica sends",
      perToken: "per token",
      perEpoch: "per epoch",
      uplink: "of its uplink",
      waits: "of its time",
      loss: "more loss",
    },
    parts: {
      boundaries: "Between stages",
      exchange: "Steps",
      merge: "Merges",
      steps: "Between steps",
      checkpoint: "Checkpoints",
    } satisfies Record<PlanCost["part"], string>,
    speed: (percent: string) => `${percent} of full speed`,
    gap: (percent: string) => `${percent} % more loss`,
    gapOf: (percent: string) => `${percent} %`,
    tokensPerStep: (tokens: string) => `${tokens} tokens`,
    stepsPerEpoch: (steps: string) => `after ${steps} steps`,
    estimated: "Nobody has measured this: it is an estimate from what was measured beside it.",
    measuredAt: (where: string) => `Measured: ${where}.`,
    formats: (forward: string, backward: string) => `${forward} forward, ${backward} back`,
    perToken: (forward: string, backward: string) => `${forward} forward, ${backward} back`,
    ratio: (times: string) => `${times} times`,
    perParameter: (bytes: string) => `${bytes} per parameter`,
    noExchange: "not exchanged",
    boundaries: "The boundaries between stages",
    boundary: (from: string, to: string) => `Stage ${from} to ${to}`,
    health: (rms: string, error: string) => `norm ${rms}, ${error} rounded away`,
    alarm: (what: string, epoch: string) =>
      `${what} in epoch ${epoch}; more bits were sent from then on, until it was calm`,
    alarms: {
      "not-finite": "Values that are no numbers",
      runaway: "The norm ran away",
      rounding: "Too much was rounded away",
    } satisfies Record<BoundaryAlarm["kind"], string>,
  },

  runs: {
    title: "Runs of this network",
    isShown: (run: string) => `${run} (shown here)`,
    figures: (count: number, miners: string, weight: string, tokens: string, loss: string) =>
      `${miners} ${plural(count, "miner", "miners")} · weight ${weight} · ${tokens} tokens · loss ${loss}`,
    pause: (run: string) => `Pause ${run}`,
    resume: (run: string) => `Resume ${run}`,
  },

  headline: {
    label: "At a glance",
    validation: [
      "Validation loss",
      "How surprised the merged model is by text that nobody trains on. Lower is better.",
    ],
    train: ["Training loss", "Mean loss over the microbatches of the last moments. Lower is better."],
    tokens: ["Tokens trained", "Tokens that the whole network has trained on since the run began."],
    network: [
      "Network speed",
      "Tokens per second that the run trains on: each goes through all stages, forward and back.",
    ],
    machine: [
      "This machine",
      "Tokens per second that this machine passed backward through its stage, and its share of the work.",
    ],
    from: (loss: string) => `began at ${loss}`,
    ofEpoch: (epoch: string) => `after epoch ${epoch}`,
    noEvaluation: "after the first epoch",
    inEpoch: (done: string, planned: string) => `${done} of ${planned} microbatches`,
    ofTarget: (percent: string, target: string) => `${percent} of ${target}`,
    noTarget: "no end set",
    miners: (count: number, text: string) => `${text} ${plural(count, "machine trains", "machines train")}`,
    share: (percent: string) => `${percent} of the work`,
    noShare: "the run stands still",
  },

  units: {
    nats: (perByte: boolean) => (perByte ? "nats/byte" : "nats/token"),
    tokensPerSecond: "tok/s",
    tokens: "tok",
    credits: "credits",
    creditsPerDay: "credits/day",
    megabits: "Mbit/s",
  },

  network: {
    title: "Network",
    graph: "Graph",
    table: "Table",
    viewLabel: "Show the network as",
    stage: (number: string, count: string) => `Stage ${number} of ${count}`,
    stages: (numbers: string, count: string) => `Stages ${numbers} of ${count}`,
    stageShort: (number: string) => `${number}`,
    layers: (from: string, to: string) => (from === to ? `layer ${from}` : `layers ${from}–${to}`),
    embedding: "embedding",
    head: "output head",
    thisMachine: "this machine",
    isThisMachine: (name: string) => `${name} (this machine)`,
    forward: "forward",
    backward: "backward",
    flowLegend: "Microbatches on their way",
    states: {
      "warming-up": "warming up",
      preparing: "preparing",
      training: "training",
      lost: "lost",
      paused: "paused",
    } satisfies Record<ShownState, string>,
    empty: "no miner",
    inFlight: (count: string) => `${count} in flight`,
    speed: (tokens: string) => `${tokens} tok/s`,
    summary: (stages: number, miners: number, training: number) =>
      `Network of ${stages} ${plural(stages, "stage", "stages")} and ${miners} ${plural(miners, "miner", "miners")}, ${training} training. The table shows each of them.`,
    tableLabel: "Miners by stage",
    columns: {
      stage: "Stage",
      miner: "Miner",
      state: "State",
      speed: "Tokens/s",
      inFlight: "In flight",
      memory: "Memory",
      credits: "Credits",
    },
    flowCount: (forward: string, backward: string) => `${forward} forward, ${backward} backward`,
  },

  training: {
    title: "Loss",
    scaleLabel: "Loss axis",
    linear: "Linear",
    log: "Log",
    axisLabel: "Horizontal axis",
    tokens: "Tokens",
    time: "Time",
    train: "training",
    validation: "validation",
    empty: "No loss yet",
    emptyDetail: "The first point comes with the first microbatch that has gone all the way.",
    chartLabel: (train: string, validation: string) =>
      `Loss chart. Latest training loss ${train}, latest validation loss ${validation}. Left and right arrow keys read single points.`,
    atTokens: (tokens: string) => `at ${tokens} tokens`,
    atTime: (time: string) => `at ${time}`,
    latest: "latest",
  },

  machine: {
    title: "This machine",
    figures: {
      forward: ["Forward", "Tokens that this machine computed forward since it started."],
      backward: ["Backward", "Tokens that this machine computed backward since it started; these are credited."],
      sent: [
        "Sent",
        "Bytes that left this machine for the network, as its line counts them: in all, and for the run shown.",
      ],
      received: [
        "Received",
        "Bytes that came from the network, as its line counts them: in all, and for the run shown.",
      ],
      upload: ["Upload", "Megabits per second that this machine sends now, and the most that it may."],
      download: ["Download", "Megabits per second that this machine receives now, and the most that it may."],
      link: ["Line", "What the connection was seen to carry: up, down, and how long the way there and back takes."],
      peers: [
        "Peers",
        "Miners that this one speaks with: straight from machine to machine, or through the network's gateway.",
      ],
      inFlight: ["In flight", "Microbatches that this machine has begun and not finished."],
      memory: ["Memory", "Main memory that the daemon and its workers hold, and what they may use."],
      training: ["Training time", "Time spent training since the daemon started."],
      device: ["Device", "The processor, and what computes: a back end or a graphics card, and with which precision."],
      networkUrl: ["Network", "The network that this machine takes part in."],
    } satisfies Record<string, readonly [string, string]>,
    memory: (used: string, limit: string) => `${used} of ${limit}`,
    ofRun: (total: string, run: string) => `${total}, run ${run}`,
    peers: (direct: string, relayed: string) => `${direct} direct, ${relayed} through the gateway`,
    link: (up: string, down: string, milliseconds: string) => `${up} up, ${down} down Mbit/s; ${milliseconds} ms`,
    ofCap: (used: string, limit: string) => `${used} of ${limit}`,
    device: (cpu: string, cores: string, computing: string, precision: string) =>
      `${cpu}, ${cores} cores, ${computing} in ${precision}`,
  },

  limits: {
    open: "Limits",
    title: "What this machine may send and receive",
    upload: "Most to send",
    download: "Most to receive",
    none: "no limit",
    metered: "Train on metered connections too",
    save: "Save",
    cancel: "Cancel",
    failed: (reason: string) => `Nothing was changed: ${reason}`,
  },

  asking: "Asking…",

  check: {
    open: "Check",
    title: "Is this machine fit to train?",
    close: "Close",
    asking: "Checking; this takes some seconds.",
    passed: "OK",
    failed: "Not OK",
    processes: "Processes at work here",
    columns: { role: "Role", name: "Name", pid: "Process id", state: "State" },
    alive: "running",
    dead: "ended",
  },

  processRoles: {
    orchestrator: "orchestrator",
    "this-machine": "this machine",
    "local-peer": "local peer",
    "compute-worker": "compute worker",
    evaluator: "evaluator",
  } satisfies Record<ProcessView["role"], string>,

  credits: {
    title: "Credits",
    estimated: ["Estimated", "A forecast, not earned: what the next 24 hours would bring at the present speed."],
    pending: ["Pending", "Earned by merged work, and waiting for its checks."],
    payable: ["Payable", "Checked. May be paid out."],
    paid: ["Paid", "Gone to your payout address."],
  } satisfies Record<string, readonly [string, string] | string>,

  samples: {
    title: "What the model writes",
    tab: "Samples",
    empty: "Nothing written yet",
    emptyDetail: "After each epoch the merged model is asked to go on from a prompt.",
    caption: (epoch: string, loss: string, unit: string) => `epoch ${epoch} · validation ${loss} ${unit}`,
    prompt: "Prompt",
  },

  log: {
    runTab: "Run log",
    machineTab: "This machine’s log",
    tabsLabel: "Samples and logs",
    search: "Search the log",
    clear: "Clear the search",
    level: "Least level",
    levels: { debug: "Debug", info: "Info", warning: "Warnings", error: "Errors" },
    levelNames: { debug: "debug", info: "info", warning: "warning", error: "error" },
    empty: "No entries",
    noMatch: "No entry matches",
    shown: (shown: string, total: string) => `${shown} of ${total}`,
    runLabel: "Run log, newest first",
    machineLabel: "Log of this machine, newest first",
  },

  failed: {
    title: "This page has a fault",
    detail: "It can be loaded again; training is not affected.",
    reload: "Load again",
  },
};
