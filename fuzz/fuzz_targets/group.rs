//! Arbitrary bytes as a group of every coder, decoded into segments of arbitrary kinds and sizes. What was in the
//! buffers before must not matter, and values must be those of the symbols.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tersor_codec::{Codebook, Coder, Dequantizer, Dtype, SegmentOutput, decode_group};

#[derive(Arbitrary, Debug)]
struct Segment {
    kind: u8,
    n: u16,
    n_levels: u16,
    zero: Option<u16>,
    shape: Vec<u8>,
    first: u64,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    coder: u8,
    /// Makes the group long enough for eight lanes.
    long: bool,
    segments: Vec<Segment>,
    bytes: &'a [u8],
}

/// Decodes into buffers filled with `dirt`; the symbols and bytes of all segments, or nothing if it fails.
fn decode(input: &Input<'_>, coder: Coder, dirt: u8) -> Option<(Vec<Vec<u16>>, Vec<Vec<u8>>)> {
    let n = |i: usize, s: &Segment| {
        if i == 0 && input.long {
            1 << 17
        } else {
            usize::from(s.n % 600)
        }
    };
    let segments = input.segments.iter().take(4).enumerate();
    let mut symbols: Vec<Vec<u16>> = Vec::new();
    let mut bytes: Vec<Vec<u8>> = Vec::new();
    for (i, s) in segments.clone() {
        let raw = s.kind % 3 == 0;
        symbols.push(vec![u16::from(dirt); if raw { 0 } else { n(i, s) }]);
        bytes.push(vec![dirt; if raw { n(i, s) * item_bytes(s) } else { 0 }]);
    }
    let shapes: Vec<Vec<u64>> = segments.clone().map(|(_, s)| shape(s)).collect();
    let mut outputs = Vec::new();
    for ((((_, s), symbols), bytes), shape) in segments.zip(&mut symbols).zip(&mut bytes).zip(&shapes) {
        let n_levels = n_levels(s);
        outputs.push(if s.kind % 3 == 0 {
            SegmentOutput::Raw {
                out: bytes,
                item_bytes: item_bytes(s),
            }
        } else {
            SegmentOutput::Symbols {
                out: symbols,
                n_levels,
                zero: zero(s),
                shape,
                first: s.first,
            }
        });
    }
    decode_group(input.bytes, coder, &mut outputs).ok()?;
    drop(outputs);
    for (s, symbols) in input.segments.iter().zip(&symbols) {
        assert!(
            symbols.iter().all(|&x| usize::from(x) < n_levels(s)),
            "a symbol outside its alphabet"
        );
    }
    Some((symbols, bytes))
}

/// Decodes the same group to values of a table whose level of symbol s is s, one greater than s above the zero.
fn decode_values(input: &Input<'_>, coder: Coder, symbols: &[Vec<u16>]) {
    let segments: Vec<&Segment> = input.segments.iter().take(4).collect();
    if segments.iter().any(|s| s.kind % 3 == 0 || n_levels(s) > 2048) {
        return;
    }
    let codebooks: Vec<Codebook> = segments
        .iter()
        .map(|s| Codebook::Table((0..n_levels(s)).map(|l| l as f32 + 1.0).collect()))
        .collect();
    let shapes: Vec<Vec<u64>> = segments.iter().map(|s| shape(s)).collect();
    let dequantizers: Vec<Dequantizer<'_>> = codebooks
        .iter()
        .zip(&shapes)
        .map(|(c, shape)| Dequantizer::new(c, None, Dtype::F32, shape).expect("a codebook"))
        .collect();
    let mut out: Vec<Vec<u8>> = symbols.iter().map(|s| vec![0xa5; s.len() * 4]).collect();
    let mut outputs: Vec<SegmentOutput<'_>> = segments
        .iter()
        .zip(&mut out)
        .zip(&dequantizers)
        .map(|((s, out), dequantizer)| SegmentOutput::Values {
            out,
            dequantizer,
            first: s.first,
            n_levels: n_levels(s),
            zero: zero(s),
        })
        .collect();
    decode_group(input.bytes, coder, &mut outputs).expect("symbols were decoded");
    for (out, symbols) in out.iter().zip(symbols) {
        let expected = symbols.iter().flat_map(|&s| (f32::from(s) + 1.0).to_le_bytes());
        assert!(
            out.iter().copied().eq(expected),
            "values that are not those of the symbols"
        );
    }
}

/// A shape that need not fit the number of elements.
fn shape(s: &Segment) -> Vec<u64> {
    s.shape.iter().take(6).map(|&e| u64::from(e)).collect()
}

fn n_levels(s: &Segment) -> usize {
    usize::from(s.n_levels) + 1
}

fn zero(s: &Segment) -> Option<u16> {
    s.zero.map(|z| (usize::from(z) % n_levels(s)) as u16)
}

fn item_bytes(s: &Segment) -> usize {
    1 << (s.kind / 3 % 4)
}

fuzz_target!(|input: Input<'_>| {
    for coder in [
        Coder::Fixed,
        Coder::Huffman,
        Coder::Ans,
        Coder::Context,
        Coder::Deflate,
    ] {
        let found = decode(&input, coder, 0);
        assert!(
            found == decode(&input, coder, 0xff),
            "what was in the buffers matters"
        );
        if let Some((symbols, _)) = found
            && coder != Coder::Deflate
        {
            decode_values(&input, coder, &symbols);
        }
    }
});
