//! Tensors without moments on a trellis: where it pays, and in which pieces.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::checkpoint::Checkpoint;
use tersor::codec::{FileReader, Limits, QuantizedCheckpoint, TensorData};
use tersor::options::{CompressOptions, Target};
use tersor_codec::{Coder, trellis};

const SHAPE: [u64; 2] = [96, 80];
const N: usize = 96 * 80;

fn options(target: Target) -> CompressOptions {
    CompressOptions::default()
        .with_coder(Some(Coder::Context))
        .with_target(target)
}

/// A matrix of which a share of the weights is exactly zero.
fn matrix(share: f64) -> Checkpoint {
    let mut weights = bell(5, N, 0.1);
    for (i, w) in weights.iter_mut().enumerate() {
        if (i * 7919 % N) < (share * N as f64) as usize {
            *w = 0.0;
        }
    }
    checkpoint(vec![f32s("w", &SHAPE, &weights)])
}

/// Multiples of the step that a file of one matrix holds.
fn multiples(bytes: &[u8]) -> Vec<i32> {
    let decoded = QuantizedCheckpoint::decode(bytes, Limits::default()).unwrap();
    let TensorData::Quantized {
        codebook, symbols, ..
    } = &decoded.tensors[0].data
    else {
        panic!("the matrix is quantized");
    };
    let zero = i32::from(decoded.codebooks[*codebook].zero_symbol().unwrap());
    symbols.iter().map(|&s| i32::from(s) - zero).collect()
}

/// Whether multiples of a step are a path on the trellis of the coder `context`, from its first state on.
fn is_path(multiples: &[i32]) -> bool {
    let mut state = 0;
    multiples.iter().all(|&multiple| {
        let index = trellis::index(trellis::quantizer(state), multiple);
        state = trellis::next(state, index.unwrap_or(0));
        index.is_some()
    })
}

#[test]
fn a_matrix_is_nearer_at_the_same_size() {
    let original = matrix(0.0);
    let noise = |trellis: bool| {
        let mut options = options(Target::Bpw(3.0));
        options.trellis = trellis;
        let found = compress(&original, options);
        assert_eq!(is_path(&multiples(&found.bytes)), trellis);
        let used = found.report.tensors[0].assignment;
        assert_eq!(used, trellis.then_some("trellis"));
        let decoded = decode(&found.bytes);
        let (w, v) = (floats(&original, "w"), floats(&decoded, "w"));
        let square = |(w, v): (&f32, &f32)| f64::from((w - v) * (w - v));
        w.iter().zip(&v).map(square).sum::<f64>()
    };
    let share = noise(true) / noise(false);
    assert!(share < 0.87, "{share}");
}

#[test]
fn few_bits_and_many_zeros_keep_it_off_the_trellis() {
    for (share, bpw) in [(0.0, 0.5), (0.95, 0.6)] {
        let found = compress(&matrix(share), options(Target::Bpw(bpw)));
        assert!(!is_path(&multiples(&found.bytes)), "{share} {bpw}");
    }
    let pruned = matrix(0.95);
    let found = compress(&pruned, options(Target::Bpw(0.6)));
    let kept = floats(&pruned, "w").into_iter().zip(multiples(&found.bytes));
    assert!(kept.into_iter().all(|(w, m)| w != 0.0 || m == 0));
}

#[test]
fn each_piece_of_a_tensor_that_is_cut_is_a_path_of_its_own() {
    let mut options = options(Target::Slope(1e-5));
    options.group_elements = 3000;
    let bytes = compress(&matrix(0.0), options).bytes;
    let reader = FileReader::new(&bytes, Limits::default()).unwrap();
    let segments = reader.directory().groups.iter().flat_map(|group| &group.segments);
    let ranges = segments.map(|s| s.start as usize..(s.start + s.len) as usize);
    let multiples = multiples(&bytes);
    let pieces: Vec<&[i32]> = ranges.map(|range| &multiples[range]).collect();
    assert!(pieces.len() > 2 && pieces.iter().all(|piece| is_path(piece)));
    assert!(!is_path(&multiples));
}
