/** A process that trains one variant, named by its only argument, and sends its outcome to the process that started it. */
import { expectLargeBuffers } from "../../../src/protocol/large-buffers.ts";
import { bundledDataset } from "../shared/bundled-dataset.ts";
import { variantSchema } from "./schedule.ts";
import { trainVariant } from "./train-variant.ts";

expectLargeBuffers(); // as the compute worker does
const outcome = await trainVariant({
  variant: variantSchema.parse(JSON.parse(process.argv[2] ?? "")),
  dataset: await bundledDataset("bytes"),
  device: { backend: "native", threads: 1, precision: "f32" },
});
process.send?.(outcome, () => process.exit(0));
