/** What crosses a stage boundary: how many channels a token has there. */
import type { ModelConfig } from "./config.ts";

/** Channels that a stage which ends before `layer` sends on, and that the gradient has on its way back. */
export function channelsBefore({ width }: ModelConfig, _layer: number): number {
  return width;
}
