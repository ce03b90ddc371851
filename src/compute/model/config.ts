/** The run's configuration as the engine needs it; it is stated, with its checks, in the protocol that carries it. */
export type { ModelConfig, StageSpec, TrainingConfig } from "../../protocol/run-config.ts";
