//! Tensors whose symbols come from outside, and error feedback: what reaches the file, and what it is good for.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::codec::{ContextPrices, Dtype, FileReader, Limits, QuantizedCheckpoint, TensorData};
use tersor::feedback::{self, FeedbackConfig, Gram, Grid, Layer, LayerSymbols, Prices, Problem, Span};
use tersor::options::{CompressOptions, Target};
use tersor::{Compressor, Silent, verify};
use tersor_codec::Coder;

const GRID: Grid = Grid {
    step: 0.125,
    first: -3,
    n_levels: 7,
};

/// Symbols for `n` elements, all levels in use.
fn symbols(n: usize) -> Vec<u16> {
    (0..n).map(|i| (i * i % 7) as u16).collect()
}

fn given(original: &tersor::checkpoint::Checkpoint, name: &str, loss: f64) -> (String, LayerSymbols) {
    let weights = floats(original, name);
    let layer = LayerSymbols::new(GRID, symbols(weights.len()), &weights, loss);
    (name.to_owned(), layer)
}

#[test]
fn given_symbols_are_what_the_file_decodes_to() {
    let original = small();
    for coder in [Coder::Ans, Coder::Context] {
        // Groups of 1,000 elements cut the first matrix into chunks.
        let mut options = CompressOptions::default().with_coder(Some(coder));
        options.group_elements = 1000;
        let bias = given(&original, "a.bias", 0.5).1;
        let layers = [
            given(&original, "a.weight", 0.25),
            ("module.a.bias".to_owned(), bias),
        ];
        let compressor = Compressor::with_symbols(&original, options, layers, &Silent).unwrap();
        let compressed = compressor.compress(&Target::Slope(1e-5), &Silent).unwrap();
        let decoded = QuantizedCheckpoint::decode(&compressed.bytes, Limits::NONE).unwrap();
        for tensor in &decoded.tensors[..2] {
            let TensorData::Quantized {
                codebook,
                symbols: found,
                ..
            } = &tensor.data
            else {
                panic!("{:?}", tensor.info)
            };
            assert_eq!(*found, symbols(found.len()));
            assert_eq!(decoded.codebooks[*codebook].levels()[2], -0.125);
        }
        let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
        let found = verify::compare(&reader, &original, &Silent).unwrap();
        let report = &compressed.report;
        assert_close(report.squared_error, found.squared_error, "squared error");
        let loss = |i: usize| report.tensors[i].weighted_error.unwrap();
        assert_close(loss(0), 0.25, "the loss that the symbols came with");
        assert_close(loss(1), 0.5, "the loss that the symbols came with");
        assert_close(
            report.weighted_error,
            loss(0) + loss(1) + loss(2),
            "loss of the file",
        );
    }
}

#[test]
fn a_size_is_met_beside_given_symbols() {
    let original = small();
    let layers = [given(&original, "a.weight", 0.0)];
    let options = CompressOptions::default();
    let compressor = Compressor::with_symbols(&original, options, layers, &Silent).unwrap();
    let file = compressor.compress(&Target::SizeBytes(2800), &Silent).unwrap();
    assert!((2772..=2800).contains(&file.bytes.len()), "{}", file.bytes.len());
}

#[test]
fn symbols_that_do_not_fit_are_refused_by_name() {
    let half = typed("h", Dtype::F16, &[2, 2], &[0.1, 0.2, 0.3, 0.4]);
    let original = checkpoint(vec![half, raw("n", Dtype::I32, &[1, 1], &[0; 4])]);
    let wide = Grid { step: 4e4, ..GRID };
    let layer = |grid, n: usize, symbol| LayerSymbols::new(grid, vec![symbol; n], &vec![0.0; n], 0.0);
    for (name, layer, expected) in [
        ("x", layer(GRID, 4, 0), "no such tensor"),
        ("h", layer(GRID, 5, 0), "one per element"),
        ("h", layer(GRID, 4, 7), "levels 0 to 6"),
        ("h", layer(wide, 4, 0), "not a finite"),
        ("n", layer(GRID, 1, 0), "only floats"),
    ] {
        let options = CompressOptions::default();
        let refused = Compressor::with_symbols(&original, options, [(name.to_owned(), layer)], &Silent);
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains(&format!("{name:?}")) && message.contains(expected),
            "{message}"
        );
    }
    let mut options = CompressOptions::default();
    options.keep.push(tersor::options::parse_glob("h").unwrap());
    let kept = [("h".to_owned(), layer(GRID, 4, 0))];
    let message = Compressor::with_symbols(&original, options, kept, &Silent)
        .unwrap_err()
        .to_string();
    assert!(message.contains("kept losslessly"), "{message}");
}

/// Moments of inputs whose neighbours have a correlation of 0.9.
fn correlated(n_in: usize) -> Vec<f32> {
    let at = |i: usize| 0.9f64.powi((i / n_in).abs_diff(i % n_in) as i32) as f32;
    (0..n_in * n_in).map(at).collect()
}

/// A layer of 64 outputs and 48 inputs.
const SHAPE: [u64; 2] = [64, 48];

#[test]
fn the_running_prices_are_left_as_the_file_leaves_them() {
    let weights = bell(7, 64 * 48, 0.1);
    let moments = correlated(48);
    let layer = Layer::new(&weights, Gram::new(&moments, 48, 48).unwrap());
    let problem = || Problem::new(&layer, &FeedbackConfig::default()).unwrap();
    let info = f32s("w", &SHAPE, &weights).0;
    let step = feedback::step(Span::of_slice(&weights), 64 * 48, 1e-4, 1.0);
    let mut prices = ContextPrices::new();
    let mut quantize =
        || feedback::quantize(&info, &[problem()], step, 1e-4, Prices::Context(&mut prices)).unwrap();
    let (first, second) = (quantize(), quantize());
    let mut anew = ContextPrices::new();
    let mut bits = [0.0; 2];
    for (bits, layer) in bits.iter_mut().zip([&first, &second]) {
        let zero = u16::try_from(-layer.grid.first).ok();
        let segment = tersor_codec::SegmentInput::Symbols {
            symbols: &layer.symbols,
            n_levels: layer.grid.n_levels,
            zero,
            shape: &SHAPE,
            first: 0,
        };
        *bits = anew.take(&segment).unwrap();
    }
    let probe = |prices: &mut ContextPrices| {
        prices.begin((&SHAPE, 0), 64 * 48, 9, Some(4), 4).unwrap();
        (0..9).map(|s| prices.price(s)).collect::<Vec<_>>()
    };
    assert_eq!(probe(&mut prices), probe(&mut anew));
    assert!(
        bits[1] < bits[0],
        "the second is coded with what the first taught: {bits:?}"
    );
}
