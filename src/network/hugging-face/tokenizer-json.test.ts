import { describe, expect, it } from "vitest";
import { z } from "zod";
import { loadTokenizer, type TokenizerId } from "../../compute/data/tokenizer.ts";
import { tokenizerJson } from "./tokenizer-json.ts";

const fileSchema = z.object({
  added_tokens: z.array(z.object({ id: z.int(), content: z.string() })),
  model: z.object({ vocab: z.record(z.string(), z.int()), merges: z.array(z.string()) }),
});

const fileOf = async (id: TokenizerId) => fileSchema.parse(await tokenizerJson(id));

/** Merges one word as the tokenizers library does: the pair that comes first in the list, again and again. */
function mergeWord(word: string, merges: readonly string[]): readonly string[] {
  const ranks = new Map(merges.map((pair, rank) => [pair, rank]));
  let parts: readonly string[] = [...word];
  for (;;) {
    const pairs = parts.slice(1).map((part, index) => ranks.get(`${parts[index]} ${part}`) ?? Number.POSITIVE_INFINITY);
    const best = Math.min(...pairs);
    if (best === Number.POSITIVE_INFINITY) return parts;
    const at = pairs.indexOf(best);
    parts = [...parts.slice(0, at), `${parts[at]}${parts[at + 1]}`, ...parts.slice(at + 2)];
  }
}

describe("tokenizer.json", () => {
  it("of the byte tokenizer gives byte b the id b, and merges nothing", async () => {
    const { model, added_tokens } = await fileOf("bytes");
    expect(Object.values(model.vocab).sort((a, b) => a - b)).toEqual(Array.from({ length: 256 }, (_, byte) => byte));
    expect([model.vocab.A, model.vocab.Ġ, model.vocab.Ċ]).toEqual([65, 32, 10]);
    expect([model.merges, added_tokens]).toEqual([[], []]);
  });

  it("of GPT-2 has the merges that were published, in their order", async () => {
    const { model, added_tokens } = await fileOf("gpt2");
    expect(model.merges).toHaveLength(50_000);
    expect(model.merges.slice(0, 6)).toEqual(["Ġ t", "Ġ a", "h e", "i n", "r e", "o n"]);
    expect(model.merges.at(-1)).toBe("Ġg azed");
    expect(added_tokens).toMatchObject([{ id: 50_256, content: "<|endoftext|>" }]);
  });

  it.each(["gpt2", "cl100k"] as const)(
    "of %s merges words to the tokens that our tokenizer has for them",
    async (id) => {
      const { model } = await fileOf(id);
      const tokenizer = await loadTokenizer(id);
      for (const word of ["Ishmael", " precisely", "antidisestablishmentarianism", "aaaaaaaaaaa", " Leviathanic"]) {
        const tokens = mergeWord(word.replaceAll(" ", "Ġ"), model.merges).map((part) => model.vocab[part]);
        expect(tokens).toEqual([...tokenizer.encode(word)]);
      }
    },
  );
});
