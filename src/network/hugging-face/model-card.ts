/** The README of an exported model: what it is, and where it comes from. */
import type { TokenizerId } from "../../compute/data/tokenizer.ts";
import { parameterCount } from "../../compute/model/stages.ts";
import type { OpenCheckpoint } from "../checkpoints/open-checkpoint.ts";

const tokenizers: Readonly<Record<TokenizerId, string>> = {
  bytes: "bytes of UTF-8: token b is byte b",
  gpt2: "GPT-2's byte-pair encoding (r50k_base)",
  cl100k: "GPT-4's byte-pair encoding (cl100k_base)",
};

export function modelCard({ archived, manifest, model }: OpenCheckpoint, type: "f32" | "bf16"): string {
  const loss = (nats: number | null) => (nats === null ? "not measured" : `${nats.toFixed(4)} nats per token`);
  const rows: readonly (readonly [string, string])[] = [
    ["Parameters", parameterCount(model).toLocaleString("en")],
    ["Weights", type],
    ["Tokenizer", tokenizers[manifest.tokenizer]],
    ["Context", `${model.context} tokens`],
    ["Run", `${manifest.runName} (\`${manifest.runId}\`)`],
    ["Trained on", `${manifest.tokens.toLocaleString("en")} tokens, ${manifest.epoch} epochs`],
    ["Training loss of the last epoch", loss(archived.trainLossNats)],
    ["Validation loss", loss(archived.validationLossNats)],
    ["Checkpoint", `\`${archived.manifest.hash}\``],
  ];
  return `---
library_name: transformers
pipeline_tag: text-generation
---

# ${manifest.runName}

A Llama-style language model that was trained with Train at Home, by several machines together.

| | |
|---|---|
${rows.map(([name, value]) => `| ${name} | ${value} |`).join("\n")}

\`checkpoint-manifest.json\` is the checkpoint's manifest; its SHA-256 is the checkpoint's name.

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
tokens = tokenizer("Call me", return_tensors="pt").input_ids
print(tokenizer.decode(model.generate(tokens, max_new_tokens=100, do_sample=True)[0]))
\`\`\`
`;
}
