"""What `transformers` makes of a model in a folder. Reads a JSON request from standard input, answers with JSON:
  {"folder": …, "create": …, "tokens": [[…], …], "targets": [[…], …], "text": …}
  → {"lossSumNats": …, "logits": […], "ids": […], "decoded": …, "version": …}
`create`: a configuration to make the model of first, with weights in bfloat16; null: it is there. `logits` are those behind the last
token of the first sequence. `ids` and `decoded` are the text, there and back; null without a text.
"""
import json
import sys

import torch
import transformers

request = json.load(sys.stdin)
if request["create"] is not None:
    torch.manual_seed(1)
    created = transformers.LlamaForCausalLM(transformers.LlamaConfig(**request["create"]))
    created.to(torch.bfloat16).save_pretrained(request["folder"], safe_serialization=True)
model = transformers.AutoModelForCausalLM.from_pretrained(request["folder"], torch_dtype="auto").float().eval()
with torch.no_grad():
    logits = model(torch.tensor(request["tokens"])).logits
targets = torch.tensor(request["targets"])
loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), targets.flatten(), reduction="sum")
ids, decoded = None, None
if request["text"] is not None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(request["folder"])
    ids = tokenizer(request["text"])["input_ids"]
    decoded = tokenizer.decode(ids)
json.dump(
    {
        "lossSumNats": loss.item(),
        "logits": logits[0, -1].tolist(),
        "ids": ids,
        "decoded": decoded,
        "version": transformers.__version__,
    },
    sys.stdout,
)
