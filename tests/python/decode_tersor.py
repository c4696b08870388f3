#!/usr/bin/env python3
"""A slow decoder of .tersor files (version 1), written from docs/format.md alone to prove that the page suffices.

Section numbers (§) are those of that page.

    decode_tersor.py FILE.tersor [--out FILE.safetensors]   print every tensor and blob, write the tensors
    decode_tersor.py --check MANIFEST.json                  decode the golden files of a manifest and compare
"""

import argparse
import hashlib
import json
import math
import struct
import sys
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

MAGIC = bytes.fromhex("8F544552534F52")
MAX_GROUP = 1 << 24  # elements of a group, §4.3
DTYPES = [  # §4.1: name, bytes
    ("F32", 4), ("F16", 2), ("BF16", 2), ("F64", 8), ("F8_E4M3", 1), ("F8_E5M2", 1), ("I64", 8), ("I32", 4), ("I16", 2),
    ("I8", 1), ("U64", 8), ("U32", 4), ("U16", 2), ("U8", 1), ("BOOL", 1), ("F8_E8M0", 1), ("C64", 8),
]
N_QUANTIZABLE = 6
FIXED, HUFFMAN, ANS, CONTEXT, DEFLATE = range(5)
UNIFORM, CONSTANT, EXPLICIT, REUSE = range(4)


class FormatError(Exception):
    """The file is not a valid .tersor file, or exceeds a limit of the caller."""


def require(condition, message):
    if not condition:
        raise FormatError(message)


@dataclass
class Limits:
    """§7. `directory` bounds what a directory expands to: bytes of text, extents, scales, levels and groups."""

    decoded_bytes: int = 1 << 30
    tensors: int = 1 << 20
    directory: int = 1 << 20


# Checksums (conventions of the page)


def _crc_table():
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
M64 = (1 << 64) - 1


def xxh64(data):
    """XXH64 with seed 0."""

    def rotl(x, n):
        return (x << n | x >> 64 - n) & M64

    def mix(acc, lane):
        return rotl(acc + lane * P2 & M64, 31) * P1 & M64

    at, size = 0, len(data)
    if size >= 32:
        v = [P1 + P2 & M64, P2, 0, -P1 & M64]
        at = size & ~31
        for lanes in struct.iter_unpack("<4Q", data[:at]):
            v = [mix(acc, lane) for acc, lane in zip(v, lanes)]
        h = sum(rotl(acc, n) for acc, n in zip(v, (1, 7, 12, 18))) & M64
        for acc in v:
            h = (h ^ mix(0, acc)) * P1 + P4 & M64
    else:
        h = P5
    h = h + size & M64
    while at + 8 <= size:
        h = rotl(h ^ mix(0, int.from_bytes(data[at:at + 8], "little")), 27) * P1 + P4 & M64
        at += 8
    if at + 4 <= size:
        h = rotl(h ^ int.from_bytes(data[at:at + 4], "little") * P1 & M64, 23) * P2 + P3 & M64
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ byte * P5 & M64, 11) * P1 & M64
    h = (h ^ h >> 33) * P2 & M64
    h = (h ^ h >> 29) * P3 & M64
    return h ^ h >> 32


def varint(data, at):
    """§1. Returns the value and the offset behind it."""
    value = 0
    for i in range(9):
        require(at + i < len(data), "a varint ends early")
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            require(byte or i == 0, "a varint ends with a zero byte")
            return value, at + i + 1
    raise FormatError("a varint has more than 9 bytes")


# Range coder (§2)


class Model:
    """An adaptive bit."""

    def __init__(self):
        self.p, self.count = 32768, 0

    def update(self, bit):
        change, divisor = ((65535 if bit else 0) - self.p) * 2, 2 * self.count + 3
        self.p += change // divisor if change >= 0 else -(-change // divisor)
        self.p = min(max(self.p, 64), 65536 - 64)
        self.count = min(self.count + 1, 126)


class RangeDecoder:
    """A stream of bits. Models are made on first use; their key starts with the name that the page gives them."""

    def __init__(self, data):
        self.data, self.at = data, 0
        self.models = defaultdict(Model)
        self.code, self.range = 0, 0xFFFFFFFF
        for _ in range(4):
            self.code = self.code << 8 | self.next_byte()

    def next_byte(self):
        self.at += 1
        require(self.at <= len(self.data) + 5, "a range coded stream ends early")
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def finish(self):
        require(self.at >= len(self.data), "a range coded stream has bytes left")

    def normalize(self):
        while self.range < 1 << 24:
            self.range <<= 8
            self.code = (self.code << 8 | self.next_byte()) & 0xFFFFFFFF

    def decide(self, p):
        bound = (self.range >> 16) * p
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        self.normalize()
        return bit

    def bit(self, *name):
        model = self.models[name]
        bit = self.decide(model.p)
        model.update(bit)
        return bit

    def direct(self, n):
        value = 0
        for _ in range(n):
            self.range >>= 1
            bit = int(self.code >= self.range)
            if bit:
                self.code -= self.range
            value = 2 * value + bit
            self.normalize()
        return value

    def tree(self, n, *name):
        node = 1
        for _ in range(n):
            node = 2 * node + self.bit(*name, node)
        return node - (1 << n)

    def uint(self, *name):
        n_bits = 0
        while n_bits < 63 and self.bit(*name, "length", n_bits):
            n_bits += 1
        node = x = 1
        for _ in range(min(n_bits, 2)):
            bit = self.bit(*name, "mantissa", n_bits, node)
            node, x = 2 * node + bit, 2 * x + bit
        rest = max(n_bits - 2, 0)
        return (x << rest | self.direct(rest)) - 1

    def float(self):
        """A float of §4."""
        short = self.bit("short")
        high = self.tree(8, "highest byte") << 24 | self.tree(8, "next byte") << 16
        return f32_from_bits(high if short else high | self.direct(16))


# Values (§4.2)


def f32_from_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def pack_or_inf(code, x):
    """Rounds to nearest, ties to even; what is too large becomes an infinity."""
    try:
        return struct.pack(code, x)
    except OverflowError:
        return struct.pack(code, math.copysign(math.inf, x))


def f32_product(a, b):
    """One f32 multiplication: the product of two f32 is exact in double, so this rounds once."""
    return struct.unpack("<f", pack_or_inf("<f", a * b))[0]


def pack_bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.pack("<H", bits + 0x7FFF + (bits >> 16 & 1) >> 16)


def pack_f8(x, mantissa, bias, largest, beyond):
    sign = 0x80 if math.copysign(1, x) < 0 else 0
    x = abs(x)
    if x == 0:
        return bytes([sign])
    if x == math.inf:
        return bytes([sign | beyond])
    exponent = max(math.frexp(x)[1] - 1, 1 - bias)
    code = (exponent + bias - 1 << mantissa) + round(math.ldexp(x, mantissa - exponent))
    return bytes([sign | (code if code <= largest else beyond)])


def element(dtype, x):
    """The bytes of an f32 rounded to an element type."""
    name = DTYPES[dtype][0]
    if name == "BF16":
        return pack_bf16(x)
    if name == "F8_E4M3":
        return pack_f8(x, 3, 7, 0x7E, 0x7F)
    if name == "F8_E5M2":
        return pack_f8(x, 2, 15, 0x7B, 0x7C)
    return pack_or_inf({"F32": "<f", "F16": "<e", "F64": "<d"}[name], x)


# Directory (§3, §4)


@dataclass
class Codebook:
    levels: List[float]
    zero_symbol: Optional[int]


@dataclass
class Tensor:
    name: str
    dtype: int
    shape: List[int]
    shard: int
    codebook: Optional[Codebook] = None
    scales: Optional[List[float]] = None
    axis: int = 0
    alias: Optional[int] = None
    tied: bool = False
    data: bytearray = field(default_factory=bytearray)

    @property
    def n_elements(self):
        return math.prod(self.shape)

    @property
    def element_bytes(self):
        return DTYPES[self.dtype][1]

    def dequantize(self, first, symbols):
        """§4.2, value of an element: the bytes of the symbols of the elements from index `first` on."""
        levels, scales, known, out = self.codebook.levels, self.scales, {}, bytearray()
        inner = math.prod(self.shape[self.axis + 1:])
        for i, symbol in enumerate(symbols, first):
            key = (i // inner % len(scales), symbol) if scales is not None else symbol
            if key not in known:
                x = levels[symbol] if scales is None else f32_product(scales[key[0]], levels[symbol])
                known[key] = element(self.dtype, x)
            out += known[key]
        return out


@dataclass
class Blob:
    path: str
    n_elements: int
    data: bytearray = field(default_factory=bytearray)
    element_bytes = 1
    codebook = None


@dataclass
class Group:
    segments: list  # (item, first element, number of elements)
    coder: int
    n_bytes: int
    crc: int


class Directory:
    """§4. Reads all fields; `shards`, `tensors`, `blobs`, `items` and `groups` hold them."""

    def __init__(self, data, limits):
        self.decoder, self.limits, self.left = RangeDecoder(data), limits, limits.directory
        self.history, self.positions = bytearray(), {}
        self.pointer, self.match, self.tail = None, 0, b"\xff" * 4
        self.shards, self.tensors, self.blobs, self.codebooks, self.groups = [], [], [], [], []
        self.decoded_bytes = 0
        uint = self.decoder.uint
        for _ in range(self.spend(uint("count"))):
            file_name = self.text()
            self.shards.append((file_name, [(self.text(), self.text()) for _ in range(self.spend(uint("count")))]))
        n_tensors, n_blobs = uint("count"), uint("count")
        require(n_tensors + n_blobs <= limits.tensors, "limit: too many tensors")
        self.spend(n_tensors + n_blobs)
        names = set()
        for _ in range(n_tensors):
            self.tensors.append(self.read_tensor())
            require(self.tensors[-1].name not in names, "a tensor name occurs twice")
            names.add(self.tensors[-1].name)
        for _ in range(n_blobs):
            self.blobs.append(self.count_bytes(Blob(self.text(), uint("size"))))
        self.items = [tensor for tensor in self.tensors if tensor.alias is None] + self.blobs
        self.read_groups()
        self.decoder.finish()

    def spend(self, n):
        """Counts n entries towards the limit of the directory (§7)."""
        self.left -= n
        require(self.left >= 0, "limit: the directory is too large")
        return n

    def count_bytes(self, item):
        self.decoded_bytes += item.n_elements * item.element_bytes
        require(self.decoded_bytes <= self.limits.decoded_bytes, "limit: too many decoded bytes")
        return item

    def text(self):
        """§3. One string."""
        decoder, history, start = self.decoder, self.history, len(self.history)
        while len(history) == start or history[-1] != 0xFF:
            self.spend(1)
            hit = self.pointer is not None and decoder.bit("hit", self.match)
            previous = history[-1] if history else 0xFF
            history.append(history[self.pointer] if hit else decoder.tree(8, "text", previous))
            n = len(history)
            if history[-1] == 0xFF:
                self.tail = bytes(history[-4:]) if n >= 4 else b"\xff" * 4
            contexts = [(order, bytes(history[-order:]), self.tail if order == 3 else b"")
                        for order in (3, 4, 2) if n >= order]
            if hit:
                self.pointer += 1
                self.match = min(self.match + 1, 15)
            else:
                self.pointer = next((self.positions[c] for c in contexts if c in self.positions), None)
                self.match = 0
                if self.pointer is not None:
                    behind = zip(reversed(history[max(self.pointer - 15, 0):self.pointer]), reversed(history[-15:]))
                    self.match = next((i for i, (a, b) in enumerate(behind) if a != b), min(self.pointer, 15))
            self.positions.update((c, n) for c in contexts)
        try:
            return history[start:-1].decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError("a string is not UTF-8") from None

    def read_tensor(self):
        decoder, uint = self.decoder, self.decoder.uint
        name, dtype, n_axes = self.text(), decoder.tree(5, "dtype"), uint("axes")
        require(dtype < len(DTYPES), f"unknown element type {dtype}")
        require(n_axes <= 64, "a tensor has more than 64 axes")
        self.spend(n_axes)
        previous = self.tensors[-1].shape if self.tensors else None
        shape = []
        for i in range(n_axes):
            same = previous is not None and len(previous) == n_axes and decoder.bit("same")
            shape.append(previous[i] if same else uint("extent"))
            require(math.prod(shape) < 1 << 64, "a shape of 2^64 elements or more")
        shard = uint("shard")
        require(shard < len(self.shards), "a tensor is in a shard that is not there")
        tensor = Tensor(name, dtype, shape, shard)
        require(tensor.n_elements * tensor.element_bytes < 1 << 64, "a tensor of 2^64 bytes or more")
        storage = decoder.tree(2, "storage")
        require(storage != 3, "unknown storage 3")
        if storage == 2:
            tensor.alias = uint("alias")
            require(tensor.alias < len(self.tensors), "an alias of a tensor that is not earlier")
            target = self.tensors[tensor.alias]
            require(target.alias is None, "an alias of an alias")
            require((target.dtype, target.shape) == (dtype, shape), "an alias of another element type or shape")
            tensor.tied = bool(decoder.bit("tied"))
            return tensor
        self.count_bytes(tensor)
        if storage == 0:
            require(dtype < N_QUANTIZABLE, "a tensor of this element type cannot be quantized")
            back = uint("codebook")
            require(back <= len(self.codebooks), "a codebook that is not there")
            if back == 0:
                self.codebooks.append(self.read_codebook())
            tensor.codebook = self.codebooks[-max(back, 1)]
            if decoder.bit("has_scales"):
                tensor.axis = uint("axis")
                require(tensor.axis < n_axes, "scales on an axis that is not there")
                tensor.scales = [decoder.float() for _ in range(self.spend(shape[tensor.axis]))]
                require(all(0 < scale < math.inf for scale in tensor.scales), "a scale is not positive and finite")
        return tensor

    def read_codebook(self):
        """§4.2."""
        decoder, uint = self.decoder, self.decoder.uint
        kind, n_levels = decoder.tree(3, "kind"), uint("levels")
        require(kind < 3, f"reserved codebook kind {kind}")
        require(1 <= n_levels <= 65536, "a codebook has no or more than 65536 levels")
        self.spend(n_levels)
        if kind == 0:
            step, z = decoder.float(), uint("first")
            require(0 < step < math.inf, "the step of a grid is not positive and finite")
            require(z < 1 << 32, "the first integer of a grid is 2^32 or more")
            first = z >> 1 if z % 2 == 0 else -(z >> 1) - 1
            require(max(abs(first), abs(first + n_levels - 1)) <= 1 << 24, "an integer of a grid is beyond 2^24")
            levels = [f32_product(step, float(first + s)) for s in range(n_levels)]
            zero_symbol = -first if 0 <= -first < n_levels else None
        elif kind == 1:
            half = decoder.bit("half")
            size, code = (2, "<e") if half else (4, "<f")
            words = [decoder.direct(8 * size).to_bytes(size, "little") for _ in range(n_levels)]
            levels = [struct.unpack(code, word)[0] for word in words]
            zero_symbol = levels.index(0.0) if 0.0 in levels else None
        else:
            m, first = uint("mantissa"), uint("first")
            require(m <= 23, "a mantissa of more than 23 bits")
            require(first < 1 << 32, "the first number of a mantissa codebook is 2^32 or more")
            require(first + n_levels <= 255 << m, "a mantissa level is not finite, or negative")
            levels = [f32_from_bits(first + s << 23 - m) for s in range(n_levels)]
            zero_symbol = 0 if first == 0 else None
        require(all(map(math.isfinite, levels)), "a level is not finite")
        return Codebook(levels, zero_symbol)

    def read_groups(self):
        """§4.3."""
        decoder, uint = self.decoder, self.decoder.uint
        item, taken = 0, 0  # the next item, and how many of its elements are taken
        while item < len(self.items):
            self.spend(1)
            whole = taken == 0 and decoder.bit("whole")
            n = uint("segments") + 1
            if whole:
                require(n <= len(self.items) - item, "a group has more items than are left")
                segments = [(i, 0, i.n_elements) for i in self.items[item:item + n]]
                item += n
            else:
                left = self.items[item].n_elements - taken
                require(n <= left, "a group has more elements than are left")
                segments = [(self.items[item], taken, n)]
                item, taken = (item + 1, 0) if n == left else (item, taken + n)
            require(sum(count for _, _, count in segments) <= MAX_GROUP, "a group has more than 2^24 elements")
            coder = decoder.tree(4, "coder")
            require(coder in (FIXED, HUFFMAN, ANS, CONTEXT, DEFLATE), f"unknown coder {coder}")
            self.groups.append(Group(segments, coder, uint("size"), decoder.direct(32)))


# Groups (§5)


@dataclass
class Distribution:
    n: int
    kind: int = UNIFORM
    symbol: int = 0  # constant
    numbers: Optional[List[int]] = None  # explicit: code lengths or frequencies
    scale_bits: int = 0


class GroupHeader:
    """§5. `segments` has, for each segment, the bits of its gaps (0 without) and its runs (distribution, symbols)."""

    def __init__(self, data, group):
        self.decoder, self.coder, self.explicit, self.table_symbols = RangeDecoder(data), group.coder, [], 0
        self.segments = []
        for item, _, n in group.segments:
            self.segments.append(self.read_segment(item, n) if n else (0, []))
        self.decoder.finish()

    def read_segment(self, item, n):
        decoder, uint = self.decoder, self.decoder.uint
        if item.codebook is None:
            return 0, [(self.distribution(256), n) for _ in range(item.element_bytes)]
        n_levels = len(item.codebook.levels)
        if item.codebook.zero_symbol is None or n_levels == 1 or not decoder.bit("gaps"):
            return 0, [(self.distribution(n_levels), n)]
        b, n_survivors, n_fillers = uint("gap_bits"), uint("survivors"), uint("fillers")
        require(1 <= b <= 12, "a gap has no or more than 12 bits")
        require(n_survivors + n_fillers <= n, "a segment has more gaps than elements")
        gaps = self.distribution(1 << b)
        return b, [(gaps, n_survivors + n_fillers), (self.distribution(n_levels - 1), n_survivors)]

    def distribution(self, n):
        kind = self.decoder.tree(2, "kind")
        if kind == UNIFORM:
            return Distribution(n)
        if kind == CONSTANT:
            symbol = self.decoder.uint("constant")
            require(symbol < n, "a constant outside of the alphabet")
            return Distribution(n, CONSTANT, symbol)
        if kind == REUSE:
            back = self.decoder.uint("reuse")
            require(back < len(self.explicit), "a distribution that is not there")
            require(self.explicit[-1 - back].n == n, "a distribution of another alphabet")
            return self.explicit[-1 - back]
        require(self.coder != FIXED, "an explicit distribution with the fixed coder")
        self.table_symbols += n
        require(self.table_symbols <= 1 << 22, "explicit distributions of more than 2^22 symbols")
        tree, uint = self.decoder.tree, self.decoder.uint
        if self.coder == HUFFMAN:
            lengths = self.sparse(n, 1 << 16, lambda l: 1 << 16 - l, lambda before: 1 + tree(4, "length", before))
            result = Distribution(n, EXPLICIT, numbers=lengths)
        else:
            scale_bits = 8 + tree(4, "scale")
            require(scale_bits <= 16, "more than 16 scale bits")
            value = lambda before: 1 + uint("frequency", before.bit_length())
            frequencies = self.sparse(n, 1 << scale_bits, lambda f: f, value)
            result = Distribution(n, EXPLICIT, numbers=frequencies, scale_bits=scale_bits)
        self.explicit.append(result)
        return result

    def sparse(self, n, total, weight, value):
        """§5.1."""
        numbers, before, left = [], 0, total
        while left > 0:
            if self.decoder.bit("any"):
                z = self.decoder.uint("run")
                require(z < n - len(numbers), "a distribution has too many numbers")
                numbers += [0] * (z + 1)
            require(len(numbers) < n, "a distribution has too many numbers")
            before = value(before)
            numbers.append(before)
            left -= weight(before)
        require(left == 0, "a distribution has too large a sum")
        return numbers + [0] * (n - len(numbers))


class BitPayload:
    """§5.2."""

    def __init__(self, data):
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, n):
        self.at += n
        require(self.at <= len(self.bits), "the payload ends early")
        return self.bits[self.at - n:self.at]

    def run(self, distribution, n):
        if distribution.kind == CONSTANT:
            return [distribution.symbol] * n
        if distribution.kind == UNIFORM:
            width = (distribution.n - 1).bit_length()
            symbols = [int(self.take(width), 2) for _ in range(n)] if width else [0] * n
            require(all(symbol < distribution.n for symbol in symbols), "a symbol outside of the alphabet")
            return symbols
        codes, code, before, symbols = {}, 0, 0, []
        for length, symbol in sorted((length, s) for s, length in enumerate(distribution.numbers) if length):
            code <<= length - before
            codes[f"{code:0{length}b}"] = symbol
            code, before = code + 1, length
        for _ in range(n):
            word = self.take(1)
            while word not in codes:
                word += self.take(1)
            symbols.append(codes[word])
        return symbols

    def finish(self):
        rest = self.bits[self.at:]
        require(len(rest) < 8 and "1" not in rest, "the payload has bits left")


class AnsPayload:
    """§5.3."""

    def __init__(self, data, n_symbols):
        n_states = 8 if n_symbols >= 1 << 17 else 1
        require(len(data) >= 4 * n_states and len(data) % 2 == 0, "the payload has no states or half a word")
        self.states = list(struct.unpack_from(f"<{n_states}I", data))
        require(all(x >= 1 << 16 for x in self.states), "a state is below 2^16")
        self.words = struct.unpack_from(f"<{len(data) // 2 - 2 * n_states}H", data, 4 * n_states)
        self.at = 0

    def run(self, distribution, n):
        if distribution.kind == CONSTANT:
            return [distribution.symbol] * n
        if distribution.kind == UNIFORM:
            size = distribution.n
            scale_bits = max(8, size.bit_length() - 1) if size & size - 1 == 0 else 14 if size <= 1024 else 16
            cumulative = [(s << scale_bits) // size for s in range(size + 1)]
        else:
            scale_bits, cumulative = distribution.scale_bits, [0]
            for f in distribution.numbers:
                cumulative.append(cumulative[-1] + f)
        symbol_of = []
        for symbol, (c, end) in enumerate(zip(cumulative, cumulative[1:])):
            symbol_of += [symbol] * (end - c)
        symbols, states, mask = [], self.states, (1 << scale_bits) - 1
        for i in range(n):
            x = states[i % len(states)]
            slot = x & mask
            symbol = symbol_of[slot]
            c = cumulative[symbol]
            x = (cumulative[symbol + 1] - c) * (x >> scale_bits) + slot - c
            if x < 1 << 16:
                require(self.at < len(self.words), "the payload ends early")
                x = x << 16 | self.words[self.at]
                self.at += 1
            states[i % len(states)] = x
            symbols.append(symbol)
        return symbols

    def finish(self):
        require(self.at == len(self.words), "the payload has words left")
        require(all(x == 1 << 16 for x in self.states), "a state does not end at 2^16")


def fill_gaps(gaps, survivors, b, zero_symbol, n):
    """§5, gaps: the symbols of all n elements."""
    symbols, at, last, survivors = [zero_symbol] * n, 0, (1 << b) - 1, iter(survivors)
    for g in gaps:
        at += g
        if g < last:
            require(at < n, "a survivor is beyond the segment")
            survivor = next(survivors, None)
            require(survivor is not None, "there are more gaps than survivors")
            symbols[at] = survivor + (survivor >= zero_symbol)
            at += 1
    require(next(survivors, None) is None, "there are fewer gaps than survivors")
    require(not gaps or gaps[-1] < last, "the last gap is a filler")
    return symbols


# Groups of coder context (§6)


def clamp(x, low, high):
    return min(max(x, low), high)


def ilog2(x):
    return x.bit_length() - 1


def _squash_table():
    table, e = [0] * 5632, 1 << 32
    for x in range(2816):
        low = max(2, (e << 16) // ((1 << 32) + e))
        table[2816 - x], table[2816 + x] = low, 65536 - low
        e = e * 4278222805 >> 32
    return table


def _stretch_table(squash_table):
    table, x = [], -2815
    for i in range(16384):
        while x < 2815 and squash_table[2816 + x + 1] <= 4 * i + 2:
            x += 1
        table.append(x)
    return table


def _fraction(f):
    x, b = (1 << 31) + (2 * f + 1 << 24), 0
    for _ in range(9):
        x = x * x >> 31
        b = 2 * b + (x >> 32)
        x >>= x >> 32
    return b + 1 >> 1


SQUASH = _squash_table()
STRETCH = _stretch_table(SQUASH)
FRACTIONS = [_fraction(f) for f in range(64)]
RATES = [131072 // (2 * n + 3) for n in range(256)]
THRESHOLDS = [0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]


def squash(x):
    return SQUASH[2816 + clamp(x, -2815, 2815)]


def log2(v):
    e = ilog2(v)
    return 256 * e + FRACTIONS[(v << 6 >> e) - 64]


def exp2(v):
    return (256 + v % 256 << v // 256) >> 8


GAINS = [(1 << 32) // (exp2(1568 + 64 * scale) + 65536) for scale in range(64)]


class Counter:
    def __init__(self):
        self.p, self.n, self.logit = 1 << 21, 0, 0

    def update(self, bit):
        target = (1 << 22) - 1 if bit else 0
        self.p += (target - self.p) * RATES[self.n] >> 16
        self.n = min(self.n + 1, 255)
        self.logit = STRETCH[self.p >> 8]


class Mixer:
    def __init__(self, *weights):
        self.w = list(weights)

    def predict(self, inputs):
        return sum(w * x for w, x in zip(self.w, inputs)) >> 16

    def learn(self, inputs, e, s):
        for i, x in enumerate(inputs):
            w = self.w[i] + (e * x + (1 << s - 1) >> s)
            self.w[i] = (w + (1 << 31)) % (1 << 32) - (1 << 31)


class ContextGroup:
    """§6. What a group learns; `segment` gives the symbols or bytes of one segment after the other."""

    def __init__(self, data):
        self.decoder = RangeDecoder(data)
        self.centres, self.means = defaultdict(int), defaultdict(lambda: 32)
        self.counters = defaultdict(Counter)
        self.mixers = defaultdict(lambda: Mixer(22000, 22000, 22000, 0, 0, 0))
        self.sign_mixers = defaultdict(lambda: Mixer(16384, 0, 0, 0, 0))
        self.scale_mixers = [Mixer(20000, 24000, 8000, 0) for _ in range(3)]
        self.rows = []

    def raw(self, n, element_bytes):
        return bytes(self.decoder.tree(8, "byte", i) for _ in range(n) for i in range(element_bytes))

    def symbols(self, tensor, first, n):
        n_levels = len(tensor.codebook.levels)
        if n == 0 or n_levels == 1:
            return [0] * n
        centre, state = tensor.codebook.zero_symbol, None
        if centre is not None and len(tensor.shape) > 1 and self.decoder.bit("on_trellis"):
            state = self.decoder.tree(3, "state")
        elif centre is None or self.decoder.bit("own"):
            centre = self.centres[n_levels % 64] + self.difference("centre")
            require(0 <= centre < n_levels, "a centre outside of the alphabet")
            self.centres[n_levels % 64] = centre
        segment = Segment(self, tensor.shape, first, n, n_levels, centre, state)
        key = n_levels % 64 if segment.kind == 0 else -segment.kind
        mean = self.means[key] + self.difference("mean")
        require(0 <= mean <= 48, "a mean beyond 256")
        self.means[key] = mean
        segment.begin((181 if mean % 2 else 128) << mean // 2 >> 7)
        return [centre + d for d in segment.distances()]

    def difference(self, model):
        z = self.decoder.uint(model)
        return z >> 1 if z % 2 == 0 else -(z >> 1) - 1


class Segment:
    """§6.2 to §6.4."""

    def __init__(self, group, shape, first, n, n_levels, centre, state):
        self.group, self.n, self.n_levels = group, n, n_levels
        self.below, self.above = self.ends = centre, n_levels - 1 - centre
        self.state, self.q = state, 0
        inner = math.prod(shape[2:])
        self.kind = 0 if len(shape) < 2 else 2 if 2 <= inner <= 1024 else 1
        self.k = inner if self.kind == 2 else 1
        self.n_columns = math.prod(shape if self.kind == 0 else shape[1:])
        self.width = shape[-1] if self.kind == 2 else None
        self.tap = first % self.k
        self.h = []
        self.sums = []
        self.n_rows = self.row_sum = self.row_expected = 0
        self.kernel_sum = self.kernel_signed = self.kernel_expected = self.row = 0

    def begin(self, mean):
        """§6.4."""
        self.mean, self.log_mean = mean, log2(mean + 16)
        self.prior = clamp(131072 // (mean + 16), 2, 4000)
        rows = self.group.rows
        self.columns = [mean] * min(self.n_columns, self.n)
        if self.kind and self.n >= self.n_columns and rows and self.n_columns // self.k % len(rows) == 0:
            shares = [min(mean * row // (sum(rows) // len(rows) + 1), 255 << 16) for row in rows]
            self.columns = [shares[j // (self.n_columns // len(rows))] for j in range(self.n_columns)]

    def distances(self):
        distances = []
        for i in range(self.n):
            self.site(i)
            if self.state is None:
                distances.append(self.distance())
                self.push(distances[-1], i)
            else:
                index = self.index()
                distances.append(2 * index - self.q * ((index > 0) - (index < 0)))
                self.push(index, i)
        if self.kind:
            self.group.rows = self.sums
        return distances

    def site(self, i):
        """§6.3."""

        def h(o, there=True):
            return self.h[i - o] if there and i >= o else 0

        kernels = self.kind == 2
        line, share, has_left, has_up, has_right, has_up2 = self.n_columns, 8192, True, True, True, True
        if kernels:
            line = self.width
            x, y = self.tap % line, self.tap // line
            has_left, has_up, has_right, has_up2 = x > 0, y > 0, x + 1 < line, y > 1
            share = 65536 // (2 * has_left + 2 * has_up + (has_left and has_up) + (has_up and has_right) + 2)
        left, up, up_left = h(1, has_left), h(line, has_up), h(line + 1, has_left and has_up)
        up_right, up2, left2 = h(max(line - 1, 1), has_up and has_right), h(2 * line, has_up2), h(2)
        near = sum(f * min(abs(v), 32) for f, v in ((2, left), (2, up), (1, up_left), (1, up_right)))
        near = log2(near * share + self.mean // 4 + 16) - self.log_mean
        row = self.row
        column = log2(self.columns[i % self.n_columns] + 16) - self.log_mean
        self.features = [row, column, near, 256]
        expected = self.log_mean + self.group.scale_mixers[self.kind].predict(self.features)
        self.log_scale = clamp(expected, 1536, 5631)
        self.scale = self.log_scale - 1536 >> 6
        if self.log_mean < 3584:
            weights = 2 * (row > -256) + (column > -256)
        else:
            weights = 4 + min(max(self.scale, 24) - 24 >> 2, 3)
        tap = min(self.tap, 31)

        def g(v):
            return min(abs(v), 2)

        def t(v):
            return 1 + (v > 0) - (v < 0)

        if kernels:
            inside = 16 * tap + min(self.kernel_sum, 15)
        else:
            inside = 512 + 27 * g(up_left) + 9 * g(up_right) + 3 * g(left2) + g(up2)
        around = 256 * kernels + 16 * (self.scale >> 2) + 3 * g(left) + g(up)
        self.contexts = [("A", self.kind, self.scale), ("B", around), ("C", inside)]
        self.weights = (self.kind, weights)
        self.inputs = [256, row, column]
        self.signs = 81 * kernels + 27 * t(left) + 9 * t(up) + 3 * t(up_left) + t(up_right)
        self.sign_weights = (self.kind, tap)
        self.sign_inputs = [160 * clamp(v, -3, 3) for v in (left, up, up2, self.kernel_signed)]

    def decide(self, counters, mixer, inputs, s):
        inputs = [counter.logit for counter in counters] + inputs
        p = squash(mixer.predict(inputs))
        bit = self.group.decoder.decide(p)
        mixer.learn(inputs, (65535 if bit else 0) - p, s)
        for counter in counters:
            counter.update(bit)
        return bit

    def exceeds(self, b):
        counters = [self.group.counters[(*context, self.q, b)] for context in self.contexts]
        return self.decide(counters, self.group.mixers[(*self.weights, b)], self.inputs, 16)

    def sign(self):
        counter = self.group.counters["S", self.signs]
        return self.decide([counter], self.group.sign_mixers[self.sign_weights], self.sign_inputs, 15)

    def distance(self):
        """§6.2."""
        if not self.exceeds(0):
            return 0
        negative = 0 if self.below == 0 else 1 if self.above == 0 else self.sign()
        most, least, b = self.below if negative else self.above, 1, 1
        while b < 16 and THRESHOLDS[b] < most:
            if not self.exceeds(b):
                most = THRESHOLDS[b]
                break
            least = THRESHOLDS[b] + 1
            b += 1
        m = least + self.place(most - least, b)
        return -m if negative else m

    def index(self):
        """§6.5."""
        self.q = self.state % 2
        self.below, self.above = (end + self.q >> 1 for end in self.ends)
        index = self.distance() if self.below or self.above else 0
        self.state = self.state >> 1 ^ 2 * (index % 2) ^ 5 * self.q
        return index

    def place(self, m, b):
        if m == 0:
            return 0
        v, decoder = 0, self.group.decoder
        for i in range(ilog2(m), -1, -1):
            if v + (1 << i) > m:
                continue
            if i == ilog2(m):
                counter = self.group.counters["P", self.scale // 8, b]
                bit = decoder.decide(clamp(counter.p >> 6, 16, 65520))
                counter.update(bit)
            else:
                bit = decoder.decide(32768)
            v += bit << i
        return v

    def push(self, d, i):
        """§6.4."""
        m = min(abs(d), 255)
        e = ((m << 16) - exp2(self.log_scale)) * GAINS[self.scale] >> 24
        self.group.scale_mixers[self.kind].learn(self.features, clamp(e, -256, 256), 9)
        self.h.append(clamp(d, -127, 127))
        column = i % self.n_columns
        mean, count = self.columns[column], min(self.n_rows + self.prior, max(self.prior, 150))
        self.columns[column] += ((m << 16) - mean) * (131072 // (2 * count + 3)) >> 16
        self.kernel_expected += mean
        self.kernel_sum += m
        self.kernel_signed += clamp(d, -127, 127)
        self.tap += 1
        if self.tap == self.k:
            self.row_sum += self.kernel_sum
            self.row_expected += self.kernel_expected
            self.row = self.log_sum(self.row_sum << 16) - self.log_sum(self.row_expected)
            self.tap = self.kernel_sum = self.kernel_signed = self.kernel_expected = 0
        if column == self.n_columns - 1:
            self.sums.append((self.row_sum << 16) // self.n_columns)
            self.n_rows += 1
            self.row_sum = self.row_expected = self.row = 0

    @staticmethod
    def log_sum(v):
        return log2(min(v + 131072 >> 8, 2**32 - 1))


def decode_context(group, data):
    """§6. The bytes of the segments."""
    context, parts = ContextGroup(data), []
    for item, first, n in group.segments:
        if item.codebook is None:
            parts.append(context.raw(n, item.element_bytes))
        else:
            parts.append(item.dequantize(first, context.symbols(item, first, n)))
    context.decoder.finish()
    return parts


def decode_group(group, data):
    """§5. Appends to the data of the items, and returns the bytes of the group."""
    sizes = [n * item.element_bytes for item, _, n in group.segments]
    if group.coder == CONTEXT:
        parts = decode_context(group, data)
    elif group.coder == DEFLATE:
        require(all(item.codebook is None for item, _, _ in group.segments), "DEFLATE of a quantized tensor")
        inflate = zlib.decompressobj(-15)
        try:
            raw = inflate.decompress(data, sum(sizes) + 1)
        except zlib.error as error:
            raise FormatError(f"DEFLATE: {error}") from None
        require(len(raw) == sum(sizes) and inflate.eof, "DEFLATE: the stream has another length")
        require(not inflate.unused_data, "DEFLATE: bytes after the stream")
        parts, at = [], 0
        for size in sizes:
            parts.append(raw[at:at + size])
            at += size
    else:
        length, at = varint(data, 0)
        require(at + length <= len(data), "a group header is longer than its group")
        header = GroupHeader(data[at:at + length], group)
        data = data[at + length:]
        n_symbols = sum(n for _, runs in header.segments for _, n in runs)
        payload = AnsPayload(data, n_symbols) if group.coder == ANS else BitPayload(data)
        parts = []
        for (item, first, n), (b, runs) in zip(group.segments, header.segments):
            symbols = [payload.run(distribution, count) for distribution, count in runs]
            if not n:
                parts.append(b"")
            elif item.codebook is None:
                parts.append(bytes(byte for one in zip(*symbols) for byte in one))
            else:
                one = fill_gaps(*symbols, b, item.codebook.zero_symbol, n) if b else symbols[0]
                parts.append(item.dequantize(first, one))
        payload.finish()
    for (item, _, _), part in zip(group.segments, parts):
        item.data += part
    return b"".join(parts)


def decode(data, limits=Limits()):
    """§1. The directory, with the data of all tensors and blobs."""
    require(data[:7] == MAGIC, "not a .tersor file")
    require(len(data) > 7, "the file ends early")
    require(data[7] == 1, f"unknown version {data[7]}")
    length, at = varint(data, 16)
    end = at + length
    require(end + 4 <= len(data), "the file ends early")
    require(crc32c(data[:end]) == int.from_bytes(data[end:end + 4], "little"), "the header CRC is wrong")
    directory = Directory(data[at:end], limits)
    at, digests = end + 4, b""
    for i, group in enumerate(directory.groups):
        part = data[at:at + group.n_bytes]
        require(len(part) == group.n_bytes, "the file ends early")
        require(crc32c(part) == group.crc, f"the CRC of group {i} is wrong")
        digests += xxh64(decode_group(group, part)).to_bytes(8, "little")
        at += group.n_bytes
    require(at == len(data), "bytes after the last group")
    require(xxh64(digests) == int.from_bytes(data[8:16], "little"), "the digest is wrong")
    for tensor in directory.tensors:
        if tensor.alias is not None:
            tensor.data = directory.tensors[tensor.alias].data
    return directory


# Command line


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def summary(directory):
    tensors = [{"name": t.name, "dtype": DTYPES[t.dtype][0], "shape": t.shape, "sha256": sha256(t.data)}
               for t in directory.tensors]
    return tensors, [{"path": b.path, "sha256": sha256(b.data)} for b in directory.blobs]


def write_safetensors(directory, path):
    """All tensors in one file, with the metadata of the first shard."""
    header, offset = {}, 0
    if directory.shards and directory.shards[0][1]:
        header["__metadata__"] = dict(directory.shards[0][1])
    for t in directory.tensors:
        header[t.name] = {"dtype": DTYPES[t.dtype][0], "shape": t.shape, "data_offsets": [offset, offset + len(t.data)]}
        offset += len(t.data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in directory.tensors:
            file.write(t.data)


def check(manifest, verbose):
    """Decodes the files of a manifest; returns the number of failures."""
    entries = json.loads(manifest.read_text(encoding="utf-8"))
    passed = failed = 0
    for valid, entry in [(True, e) for e in entries["valid"]] + [(False, e) for e in entries["invalid"]]:
        try:
            tensors, blobs = summary(decode((manifest.parent / entry["file"]).read_bytes()))
            wanted = ([{key: t[key] for key in ("name", "dtype", "shape", "sha256")} for t in entry["tensors"]],
                      [{key: b[key] for key in ("path", "sha256")} for b in entry["blobs"]]) if valid else None
            problem = None if (tensors, blobs) == wanted else "decodes to other values" if valid else \
                f"decodes, though §{entry['clause']} wants: {entry['message']}"
        except FormatError as error:
            problem = str(error) if valid else None
            if verbose and not valid:
                print(f"refused {entry['file']}: {error}")
        except Exception as error:  # a defect of this decoder
            problem = f"{type(error).__name__}: {error}"
        passed, failed = passed + (problem is None), failed + (problem is not None)
        if problem:
            print(f"FAILED {entry['file']}: {problem}")
    print(f"{passed} passed, {failed} failed")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--check", type=Path)
    parser.add_argument("--verbose", action="store_true", help="with --check: print why each invalid file is refused")
    parser.add_argument("--max-bytes", type=int, default=Limits.decoded_bytes)
    args = parser.parse_args()
    if args.check:
        return 1 if check(args.check, args.verbose) else 0
    if not args.file:
        parser.error("a file or --check is needed")
    try:
        directory = decode(args.file.read_bytes(), Limits(decoded_bytes=args.max_bytes))
    except FormatError as error:
        print(f"{args.file}: {error}", file=sys.stderr)
        return 1
    tensors, blobs = summary(directory)
    for t in tensors:
        print(json.dumps(t["name"]), t["dtype"], json.dumps(t["shape"]), t["sha256"])
    for b in blobs:
        print(json.dumps(b["path"]), b["sha256"])
    if args.out:
        write_safetensors(directory, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
