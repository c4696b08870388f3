#!/usr/bin/env python3
"""Scores of published networks on real data in PyTorch: what tersor-nets has to reproduce.

    TERSOR_DATA=FOLDER reference.py [squeezenet1_1] [resnet32] [stories260k]       all unless named

Needs torch, torchvision, safetensors, numpy and pillow, and transformers for the language model.
"""

import argparse
import csv
import gzip
import itertools
import os
import pathlib
import struct
import time

import numpy as np
import torch
from models import ResNet, squeezenet1_1
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional

MIN_CHARACTERS, N_CHUNKS, CONTEXT = 600, 150, 512


def squeezenet(data):
    """Top-1 and top-5 on the images of imagenet650: BGR, 0..255, minus Caffe's means."""
    model = squeezenet1_1().eval()
    model.load_state_dict(load_file(data / "weights/squeezenet1_1-imagenet.safetensors"))
    with open(data / "imagenet650/labels.csv", newline="", encoding="utf-8") as file:
        rows = [(row["file"], int(row["label"])) for row in csv.DictReader(file)]
    mean = torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
    top1 = top5 = 0
    loss = 0.0
    for start in range(0, len(rows), 10):
        part = rows[start : start + 10]
        images = [np.asarray(Image.open(data / "imagenet650/images" / name).convert("RGB")) for name, _ in part]
        x = torch.stack([torch.from_numpy(i[:, :, ::-1].copy()).permute(2, 0, 1).float() - mean for i in images])
        labels = torch.tensor([label for _, label in part])
        logits = model(x)
        best = logits.topk(5).indices
        top1 += int((best[:, 0] == labels).sum())
        top5 += int((best == labels[:, None]).sum())
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
    return f"{top1} of {len(rows)} top-1, {top5} top-5, loss {loss / len(rows):.5f}"


def resnet32(data):
    """Correct test images of CIFAR-10."""
    model = ResNet(32).eval()
    model.load_state_dict(load_file(data / "weights/resnet32-cifar10.safetensors"), strict=False)
    with gzip.open(data / "cifar10/test_batch.bin.gz") as file:
        records = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).view(-1, 3073)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    correct, loss = 0, 0.0
    for part in records.split(250):
        labels = part[:, 0].long()
        logits = model((part[:, 1:].view(-1, 3, 32, 32).float() / 255 - mean) / deviation)
        correct += int((logits.argmax(1) == labels).sum())
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
    return f"{correct} of {len(records)} correct, loss {loss / len(records):.5f}"


class Tokenizer:
    """llama2.c's: the pair of highest score is merged until none is in the vocabulary."""

    def __init__(self, path):
        raw = path.read_bytes()
        self.pieces, self.scores, at = [], [], 4
        while at < len(raw):
            score, length = struct.unpack_from("<fi", raw, at)
            self.scores.append(score)
            self.pieces.append(raw[at + 8 : at + 8 + length])
            at += 8 + length
        self.ids = {piece: i for i, piece in reversed(list(enumerate(self.pieces)))}

    def encode(self, text):
        tokens = [1, self.ids[b" "]]
        for character in text:
            piece = character.encode()
            tokens += [self.ids[piece]] if piece in self.ids else [byte + 3 for byte in piece]
        while True:
            pairs = [self.ids.get(self.pieces[a] + self.pieces[b]) for a, b in itertools.pairwise(tokens)]
            best = max((i for i, p in enumerate(pairs) if p is not None), key=lambda i: self.scores[pairs[i]], default=None)
            if best is None:
                return tokens
            tokens[best : best + 2] = [pairs[best]]


def chunks(text):
    """Paragraphs gathered until they have more than so many characters together."""
    chunk = []
    for paragraph in text.split("\n\n"):
        chunk.append(paragraph)
        if sum(map(len, chunk)) > MIN_CHARACTERS:
            yield "\n\n".join(chunk)
            chunk = []


def stories260k(data):
    """Loss per token of a Llama; its rotary pairs (2i, 2i + 1) are brought to Hugging Face's order by moving rows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=172,
        num_hidden_layers=5,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=512,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    weights = load_file(data / "weights/stories260k.safetensors")
    for name, w in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weights[name] = w.view(-1, 4, 2, 64).transpose(1, 2).reshape(w.shape)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    tokenizer = Tokenizer(data / "weights/stories260k-tok512.bin")
    text = (data / "text/tinystories-cased.txt").read_text(encoding="utf-8")
    loss, n = 0.0, 0
    for chunk in itertools.islice(chunks(text), N_CHUNKS):
        tokens = torch.tensor(tokenizer.encode(chunk)[:CONTEXT])
        logits = model(tokens[None]).logits[0, :-1]
        loss += functional.cross_entropy(logits, tokens[1:], reduction="sum").item()
        n += len(tokens) - 1
    return f"loss {loss / n:.5f} over {n} tokens"


def main():
    scores = {"squeezenet1_1": squeezenet, "resnet32": resnet32, "stories260k": stories260k}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(scores))
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    for name in args.networks:
        started = time.perf_counter()
        print(
            f"{name:14} {scores[name](pathlib.Path(os.environ['TERSOR_DATA']))}",
            f"({time.perf_counter() - started:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
