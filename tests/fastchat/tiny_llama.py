"""Make a tiny Llama with random weights, in FastChat's environment: tiny_llama.py TEXTS FOLDER

Two layers and a byte-level BPE tokenizer that learns from the texts. It speaks in lower-case
words and never ends by itself, so that its answers can be read and stopped in the middle.
"""

import re
import sys
from pathlib import Path

import torch  # noqa: TID251 - it runs in an environment of its own
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 4096
BEGIN, END = "<s>", "</s>"


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=END, unk_token=BEGIN
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # The same in every token, so the first dimension acts as a bias on what is said next.
        model.model.embed_tokens.weight[:, 0] = 1.0
        for number in range(len(tokenizer)):
            if not re.fullmatch(r" [a-z]+", str(tokenizer.decode([number]))):
                model.lm_head.weight[number, 0] = -10.0
    return model


def main(texts: str, folder: str) -> None:
    tokenizer = make_tokenizer([path.read_text() for path in sorted(Path(texts).rglob("*.md"))])
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
