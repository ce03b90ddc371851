"""What `transformers` makes of an exported model. Reads a JSON request from standard input, answers with JSON:
  {"folder": …, "tokens": [[…], …], "targets": [[…], …], "text": …} → {"lossSumNats": …, "logits": […], "ids": […], "decoded": …, "version": …}
`logits` are those behind the last token of the first sequence; `ids` and `decoded` are the text, there and back.
"""
import json
import sys

import torch
import transformers

request = json.load(sys.stdin)
model = transformers.AutoModelForCausalLM.from_pretrained(request["folder"], torch_dtype="auto").float().eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(request["folder"])
with torch.no_grad():
    logits = model(torch.tensor(request["tokens"])).logits
targets = torch.tensor(request["targets"])
loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), targets.flatten(), reduction="sum")
ids = tokenizer(request["text"])["input_ids"]
json.dump(
    {
        "lossSumNats": loss.item(),
        "logits": logits[0, -1].tolist(),
        "ids": ids,
        "decoded": tokenizer.decode(ids),
        "version": transformers.__version__,
    },
    sys.stdout,
)
