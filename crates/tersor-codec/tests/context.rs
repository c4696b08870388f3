//! The coder `context`: what goes in comes out, what it promises about sizes holds, and it does better than counts alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use std::path::PathBuf;
use tersor_codec::{
    Coder, ContextPrices, SegmentInput, SegmentOutput, decode_group, encode_group, encoded_len_bytes, trellis,
};

/// One quantized tensor, or a chunk of one.
#[derive(Clone, Debug)]
struct Tensor {
    shape: Vec<u64>,
    first: u64,
    n_levels: usize,
    zero: Option<u16>,
    symbols: Vec<u16>,
}

impl Tensor {
    /// Mean magnitude of the distances from a centre.
    fn mean(&self, centre: u16) -> f64 {
        let sum: f64 = self.symbols.iter().map(|s| f64::from(s.abs_diff(centre))).sum();
        sum / self.symbols.len().max(1) as f64
    }

    /// Lets prices begin with it; the centre is its zero.
    fn begin(&self, prices: &mut ContextPrices) {
        let centre = self.zero.unwrap();
        let (n, mean) = (self.symbols.len(), self.mean(centre));
        prices
            .begin(
                (&self.shape, self.first),
                n,
                self.n_levels,
                self.zero,
                (centre, mean),
                false,
            )
            .unwrap();
    }

    fn input(&self) -> SegmentInput<'_> {
        SegmentInput::Symbols {
            symbols: &self.symbols,
            n_levels: self.n_levels,
            zero: self.zero,
            shape: &self.shape,
            first: self.first,
        }
    }
}

fn encode(tensors: &[Tensor]) -> Vec<u8> {
    let inputs: Vec<_> = tensors.iter().map(Tensor::input).collect();
    let bytes = encode_group(&inputs, Coder::Context).unwrap();
    assert_eq!(encoded_len_bytes(&inputs, Coder::Context).unwrap(), bytes.len());
    bytes
}

fn decode(bytes: &[u8], tensors: &[Tensor]) -> tersor_codec::Result<Vec<Vec<u16>>> {
    let mut found: Vec<Vec<u16>> = tensors.iter().map(|t| vec![0xa5a5; t.symbols.len()]).collect();
    let mut outputs: Vec<_> = tensors
        .iter()
        .zip(&mut found)
        .map(|(t, out)| SegmentOutput::Symbols {
            out,
            n_levels: t.n_levels,
            zero: t.zero,
            shape: &t.shape,
            first: t.first,
        })
        .collect();
    decode_group(bytes, Coder::Context, &mut outputs)?;
    drop(outputs);
    Ok(found)
}

/// Tensors of any shape; symbols huddle around one of the alphabet, so that small and large distances occur.
fn tensor() -> impl Strategy<Value = Tensor> {
    let n_levels = prop_oneof![1usize..6, 6usize..300, Just(65_536)];
    let shape = proptest::collection::vec(0u64..7, 0..5);
    (shape, n_levels, any::<u64>(), 0u32..4).prop_flat_map(|(shape, n_levels, first, spread)| {
        let n = shape.iter().product::<u64>().min(300) as usize;
        let centre = (n_levels / 3) as i64;
        let symbol = (-1000i64 >> (3 * spread)..=1000 >> (3 * spread))
            .prop_map(move |d| (centre + d).rem_euclid(n_levels as i64) as u16);
        let symbols = proptest::collection::vec(symbol, n);
        let zero = proptest::option::of(0..n_levels as u32);
        (symbols, zero).prop_map(move |(symbols, zero)| Tensor {
            shape: shape.clone(),
            first: first % 50,
            n_levels,
            zero: zero.map(|z| z as u16),
            symbols,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_tensors_come_back(tensors in proptest::collection::vec(tensor(), 0..5)) {
        let bytes = encode(&tensors);
        let symbols: Vec<_> = tensors.iter().map(|t| t.symbols.clone()).collect();
        prop_assert_eq!(decode(&bytes, &tensors).unwrap(), symbols);
    }

    #[test]
    fn any_paths_on_a_trellis_come_back(
        levels in (0u16..40, 0u16..40),
        state in 0..trellis::N_STATES,
        indices in proptest::collection::vec(-20i32..21, 200),
        first in 0u64..20,
    ) {
        let mut path = on_trellis(state, levels, &indices);
        path.first = first;
        let tensors = [path, tensor_of(&[5, 40], &indices, 101)];
        let symbols: Vec<_> = tensors.iter().map(|t| t.symbols.clone()).collect();
        prop_assert_eq!(decode(&encode(&tensors), &tensors).unwrap(), symbols);
    }

    #[test]
    fn any_bytes_decode_to_symbols_of_the_alphabet_or_not_at_all(
        tensors in proptest::collection::vec(tensor(), 1..4),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        for (tensor, symbols) in tensors.iter().zip(decode(&bytes, &tensors).into_iter().flatten()) {
            prop_assert!(symbols.iter().all(|&s| usize::from(s) < tensor.n_levels));
        }
    }

    #[test]
    fn raw_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200), item_bytes in 1usize..9) {
        let bytes = &bytes[..bytes.len() / item_bytes * item_bytes];
        let group = encode_group(&[SegmentInput::Raw { bytes, item_bytes }], Coder::Context).unwrap();
        let mut out = vec![0; bytes.len()];
        decode_group(&group, Coder::Context, &mut [SegmentOutput::Raw { out: &mut out, item_bytes }]).unwrap();
        prop_assert_eq!(out, bytes);
    }
}

fn tensor_of(shape: &[u64], distances: &[i32], n_levels: usize) -> Tensor {
    let zero = n_levels as i32 / 2;
    Tensor {
        shape: shape.to_vec(),
        first: 0,
        n_levels,
        zero: Some(zero as u16),
        symbols: distances.iter().map(|d| (zero + d) as u16).collect(),
    }
}

/// A tensor of rows of 40 on a trellis, from a state on; indices whose levels are not there are 0.
fn on_trellis(state: usize, (below, above): (u16, u16), indices: &[i32]) -> Tensor {
    let mut state = state;
    let symbol = |&index: &i32| {
        let multiple = |index| trellis::multiple(trellis::quantizer(state), index);
        let there = (-i32::from(below)..=i32::from(above)).contains(&multiple(index));
        let index = if there { index } else { 0 };
        let symbol = (i32::from(below) + multiple(index)) as u16;
        state = trellis::next(state, index);
        symbol
    };
    Tensor {
        shape: vec![indices.len() as u64 / 40, 40],
        first: 0,
        n_levels: usize::from(below) + usize::from(above) + 1,
        zero: Some(below),
        symbols: indices.iter().map(symbol).collect(),
    }
}

/// Small indices, most of them zero.
fn indices(n: usize) -> Vec<i32> {
    let mut noise = noise(5);
    (0..n)
        .map(|_| (6.0 * noise() * noise() * noise()).round() as i32)
        .collect()
}

#[test]
fn a_path_on_a_trellis_takes_what_its_indices_take() {
    let indices = indices(40_000);
    let path = on_trellis(0, (50, 50), &indices);
    let plain = tensor_of(&path.shape, &indices, 101);
    let mut off = path.clone();
    // One symbol that no path leads to.
    let at = off.symbols.iter().position(|&s| s != 50).unwrap();
    off.symbols[at] += 1;
    let size = |t: &Tensor| encode(std::slice::from_ref(t)).len() as f64;
    assert!((size(&path) / size(&plain) - 1.0).abs() < 0.01);
    assert!(size(&off) > 1.15 * size(&path), "{} {}", size(&off), size(&path));
}

#[test]
fn prices_on_a_trellis_add_up_to_the_size_and_exclude_what_cannot_come() {
    let path = on_trellis(0, (9, 30), &indices(4000));
    let mut prices = ContextPrices::new();
    let begin = |prices: &mut ContextPrices| {
        let n = path.symbols.len();
        prices
            .begin((&path.shape, 0), n, path.n_levels, path.zero, (9, 0.3), true)
            .unwrap();
    };
    begin(&mut prices);
    let (mut bits, mut state) = (0.0, 0);
    for (i, &symbol) in path.symbols.iter().enumerate() {
        let quantizer = trellis::quantizer(state);
        let index = trellis::index(quantizer, i32::from(symbol) - 9).unwrap();
        let price = prices.price(symbol);
        assert_eq!(prices.price_of_index(quantizer, index), price);
        if i % 500 == 0 {
            let all: Vec<u32> = (0..path.n_levels as u16).map(|s| prices.price(s)).collect();
            let sum: f64 = all.iter().map(|&b| (-f64::from(b) / 65536.0).exp2()).sum();
            assert!((sum - 1.0).abs() < 0.01, "{sum}");
            for (s, &bits) in all.iter().enumerate() {
                let there = trellis::index(quantizer, s as i32 - 9).is_some();
                assert_eq!(bits < u32::MAX, there, "{s}");
            }
            assert_eq!(prices.price_of_index(quantizer, 400), u32::MAX);
        }
        bits += f64::from(price) / 65536.0;
        prices.push(symbol);
        state = trellis::next(state, index);
    }
    let size = 8.0 * encode(std::slice::from_ref(&path)).len() as f64;
    assert!(
        (size - bits).abs() < 0.005 * bits + 48.0,
        "{size} bits, prices of {bits}"
    );
    // In the turn of a quantizer, whatever the state: after an odd index of the second one it is the second one's turn.
    for (quantizer, symbol) in [(0, 11), (1, 10), (1, 12), (0, 9), (1, 9)] {
        begin(&mut prices);
        prices.push_in_turn(quantizer, symbol);
        let index = trellis::index(quantizer, i32::from(symbol) - 9).unwrap();
        let turn = trellis::quantizer(trellis::next(quantizer, index));
        let has = |symbol: u16| prices.price(symbol) < u32::MAX;
        assert_eq!([has(10), has(11)], [turn == 1, turn == 0], "{quantizer} {symbol}");
    }
    // Only the zero symbol is a centre there, and no vector lies on one.
    assert!(
        prices
            .begin((&[4, 4], 0), 16, 9, Some(4), (3, 1.0), true)
            .is_err()
    );
    assert!(prices.begin((&[4, 4], 0), 16, 9, None, (3, 1.0), true).is_err());
    assert!(prices.begin((&[16], 0), 16, 9, Some(4), (4, 1.0), true).is_err());
}

/// Uniform numbers in -1..1.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// Convolutions as networks have them: rows and channels of different magnitude, kernels that are smooth.
fn convolutions() -> Vec<Tensor> {
    let mut noise = noise(5);
    (0..3)
        .map(|_| {
            let (rows, channels) = (48, 32);
            let of_channels: Vec<f64> = (0..channels).map(|_| (1.2 * noise()).exp()).collect();
            let mut symbols = Vec::new();
            for _ in 0..rows {
                let of_row = (1.2 * noise()).exp();
                for of_channel in &of_channels {
                    let common = noise();
                    for _ in 0..9 {
                        let w = of_row * of_channel * (common + 0.7 * noise() * noise());
                        symbols.push((50.0 + 1.6 * w).round() as u16);
                    }
                }
            }
            Tensor {
                shape: vec![rows, channels as u64, 3, 3],
                first: 0,
                n_levels: 101,
                zero: Some(50),
                symbols,
            }
        })
        .collect()
}

/// Bytes that symbols would take if each tensor's own frequencies were known.
fn entropy_bytes(tensors: &[Tensor]) -> f64 {
    let of = |t: &Tensor| {
        let mut counts = vec![0u64; t.n_levels];
        t.symbols.iter().for_each(|&s| counts[usize::from(s)] += 1);
        let n = t.symbols.len() as f64;
        let used = counts.iter().filter(|&&c| c > 0).map(|&c| c as f64);
        used.map(|c| c * (n / c).log2()).sum::<f64>() / 8.0
    };
    tensors.iter().map(of).sum()
}

#[test]
fn structured_tensors_take_less_than_their_entropy() {
    let tensors = convolutions();
    let (size, entropy) = (encode(&tensors).len() as f64, entropy_bytes(&tensors));
    assert!(size < 0.8 * entropy, "{size} bytes, an entropy of {entropy}");
}

#[test]
fn symbols_without_structure_take_about_their_entropy() {
    let mut noise = noise(9);
    let tensor = Tensor {
        shape: vec![200, 300],
        first: 0,
        n_levels: 21,
        zero: Some(10),
        symbols: (0..60_000)
            .map(|_| (10.0 + 4.0 * noise() * noise()).round() as u16)
            .collect(),
    };
    let tensors = [tensor];
    let (size, entropy) = (encode(&tensors).len() as f64, entropy_bytes(&tensors));
    assert!(size < 1.01 * entropy, "{size} bytes, an entropy of {entropy}");
}

#[test]
fn a_tensor_learns_from_those_before_it() {
    let tensors = convolutions();
    let alone: usize = tensors
        .iter()
        .map(|t| encode(std::slice::from_ref(t)).len())
        .sum();
    let together = encode(&tensors).len();
    assert!(together + 60 < alone, "{together} bytes together, {alone} alone");
}

#[test]
fn dead_rows_and_columns_cost_little() {
    let mut noise = noise(3);
    let mut alive = |n: usize| (0..n).map(|_| noise() > 0.6).collect::<Vec<_>>();
    let (rows, columns) = (alive(200), alive(300));
    let mut symbols = Vec::new();
    for row in &rows {
        for column in &columns {
            let distance = (6.0 * noise()).round();
            let kept = *row && *column && noise() > 0.0;
            symbols.push(if kept { (8.0 + distance) as u16 } else { 8 });
        }
    }
    let tensor = Tensor {
        shape: vec![200, 300],
        first: 0,
        n_levels: 17,
        zero: Some(8),
        symbols,
    };
    let context = encode(std::slice::from_ref(&tensor)).len();
    let huffman = encode_group(&[tensor.input()], Coder::Huffman).unwrap().len();
    assert!(
        5 * context < 4 * huffman,
        "{context} bytes, {huffman} with gaps and Huffman"
    );
}

#[test]
fn prices_add_up_to_the_size() {
    let mut tensors = convolutions();
    tensors.push(Tensor {
        shape: vec![48],
        first: 0,
        n_levels: 900,
        zero: Some(450),
        symbols: (0..48).map(|i| 450 + (i * i % 97) * 4 - 190).collect(),
    });
    let mut prices = ContextPrices::new();
    let mut bits = 0.0;
    for t in &tensors {
        t.begin(&mut prices);
        for &symbol in &t.symbols {
            bits += f64::from(prices.price(symbol)) / 65536.0;
            prices.push(symbol);
        }
    }
    // Beside the symbols there are a bit and a mean per tensor, and the end of the stream.
    let size = 8.0 * encode(&tensors).len() as f64;
    assert!(
        (size - bits).abs() < 0.001 * bits + 48.0,
        "{size} bits, prices of {bits}"
    );
}

#[test]
fn a_segment_taken_whole_costs_and_teaches_what_its_symbols_do() {
    let tensors = convolutions();
    let (mut whole, mut single) = (ContextPrices::new(), ContextPrices::new());
    let mut bits = [0.0; 2];
    for t in &tensors {
        bits[0] += whole.take(&t.input()).unwrap();
        t.begin(&mut single);
        for &symbol in &t.symbols {
            bits[1] += f64::from(single.price(symbol)) / 65536.0;
            single.push(symbol);
        }
    }
    // Beside the symbols there are a bit and a mean per tensor.
    assert!((bits[0] - bits[1]).abs() < 0.001 * bits[1] + 32.0, "{bits:?}");
    let t = &tensors[0];
    let prices = |prices: &mut ContextPrices| {
        t.begin(prices);
        (0..101).map(|s| prices.price(s)).collect::<Vec<_>>()
    };
    assert_eq!(prices(&mut whole), prices(&mut single));
    assert!(
        whole
            .take(
                &Tensor {
                    n_levels: 2,
                    ..t.clone()
                }
                .input()
            )
            .is_err()
    );
}

#[test]
fn a_snapshot_brings_back_the_state() {
    let tensors = convolutions();
    let t = &tensors[0];
    let mut prices = ContextPrices::new();
    t.begin(&mut prices);
    t.symbols[..500].iter().for_each(|&s| prices.push(s));
    let snapshot = prices.clone();
    let all = |prices: &ContextPrices| (0..101).map(|s| prices.price(s)).collect::<Vec<_>>();
    let before = all(&prices);
    // The probabilities of all symbols sum to 1.
    let sum: f64 = before.iter().map(|&b| (-f64::from(b) / 65536.0).exp2()).sum();
    assert!((sum - 1.0).abs() < 0.01, "{sum}");
    for _ in 0..20 {
        prices.push(70);
    }
    assert!(prices.price(70) < before[70] / 2, "what occurs becomes cheaper");
    prices = snapshot;
    assert_eq!(all(&prices), before);
    assert!(prices.begin((&t.shape, 0), 1, 3, None, (3, 1.0), false).is_err());
}

#[test]
fn damage_is_an_error_or_other_symbols_but_never_a_panic() {
    let tensors = [
        Tensor {
            shape: vec![3, 4, 3, 3],
            first: 0,
            n_levels: 9,
            zero: Some(4),
            symbols: (0..108).map(|i| (i * i % 9) as u16).collect(),
        },
        Tensor {
            shape: vec![30],
            first: 0,
            n_levels: 5000,
            zero: None,
            symbols: (0..30).map(|i| i * 160).collect(),
        },
    ];
    let bytes = encode(&tensors);
    let original = decode(&bytes, &tensors).unwrap();
    for n in 0..bytes.len() {
        assert_ne!(
            decode(&bytes[..n], &tensors).ok().as_ref(),
            Some(&original),
            "prefix of {n} bytes"
        );
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = decode(&damaged, &tensors).ok();
        // The last bytes name one number of an interval; others would do.
        assert!(
            bit + 32 > 8 * bytes.len() || found.as_ref() != Some(&original),
            "bit {bit}"
        );
    }
}

/// Tensors of two or more dimensions of a safetensors file, as multiples of a step.
fn quantize(file: &[u8], step: f32) -> Vec<Tensor> {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let mut found = Vec::new();
    for (name, entry) in header.as_object().unwrap() {
        let number = |v: &serde_json::Value| v.as_u64().unwrap();
        let shape: Vec<u64> = entry["shape"]
            .as_array()
            .into_iter()
            .flatten()
            .map(number)
            .collect();
        if name == "__metadata__" || shape.len() < 2 || entry["dtype"] != "F32" {
            continue;
        }
        let offsets: Vec<u64> = entry["data_offsets"]
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect();
        let values = data[offsets[0] as usize..offsets[1] as usize].as_chunks::<4>().0;
        let steps = values
            .iter()
            .map(|&b| (f32::from_le_bytes(b) / step).round() as i32);
        let steps: Vec<i32> = steps.collect();
        let (least, most) = (*steps.iter().min().unwrap(), *steps.iter().max().unwrap());
        let first = least.min(0);
        found.push(Tensor {
            shape,
            first: 0,
            n_levels: (most.max(0) - first + 1) as usize,
            zero: Some(-first as u16),
            symbols: steps.iter().map(|s| (s - first) as u16).collect(),
        });
    }
    found
}

#[test]
fn resnet_32_at_2_bits_per_weight_takes_a_tenth_less_than_its_entropy() {
    let Some(folder) = std::env::var_os("TERSOR_DATA") else {
        eprintln!("skipped: TERSOR_DATA names no folder with weights");
        return;
    };
    let file = std::fs::read(PathBuf::from(folder).join("weights/resnet32-cifar10.safetensors")).unwrap();
    // The step at which the entropy is 2 bits.
    let (mut low, mut high) = (1e-4f32, 1.0f32);
    for _ in 0..30 {
        let step = (low * high).sqrt();
        let tensors = quantize(&file, step);
        let n: usize = tensors.iter().map(|t| t.symbols.len()).sum();
        if 8.0 * entropy_bytes(&tensors) > 2.0 * n as f64 {
            low = step;
        } else {
            high = step;
        }
    }
    let tensors = quantize(&file, high);
    let (size, entropy) = (encode(&tensors).len() as f64, entropy_bytes(&tensors));
    assert!(size < 0.9 * entropy, "{size} bytes, an entropy of {entropy}");
    eprintln!(
        "{size} bytes, an entropy of {entropy:.0}: {:+.1} %",
        100.0 * (size / entropy - 1.0)
    );
}
