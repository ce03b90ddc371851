/** What a run sends as it is compressed now, next to what it would send uncompressed. */
import { rowPayloadBytes } from "../../../compute/codec/rows.ts";
import { vectorPayloadBytes } from "../../../compute/codec/vector.ts";
import type { BoundaryFormats, RowFormat, VectorCodec } from "../../../protocol/run-config.ts";
import type { TransmissionView } from "../../../protocol/run-view.ts";
import type { RunDefinition } from "./definition.ts";

/** Of bfloat16, in which a boundary's full width is the usual thing to send. */
const bytesPerChannel = 2;
/** Long enough for what a payload has but once to count for nothing. */
const sampleLength = 1 << 20;

export function transmissionOf({ model, training }: RunDefinition, formats: BoundaryFormats): TransmissionView {
  const columns = model.bottleneck?.rank ?? model.width;
  const rows = training.sequenceLength * training.sequencesPerMicrobatch;
  const perToken = (format: RowFormat) => rowPayloadBytes(format, { rows, columns }) / rows;
  const perParameter = (codec: VectorCodec) => vectorPayloadBytes(codec, sampleLength).most / sampleLength;
  const { merge, exchange } = training.compression;
  const [forwardBytesPerToken, backwardBytesPerToken] = [perToken(formats.forward), perToken(formats.backward)];
  return {
    columns,
    forwardBytesPerToken,
    backwardBytesPerToken,
    boundaryRatio: (2 * bytesPerChannel * model.width) / (forwardBytesPerToken + backwardBytesPerToken),
    mergeBytesPerParameter: perParameter(merge),
    exchangeBytesPerParameter: exchange === null ? null : perParameter(exchange.codec),
  };
}
