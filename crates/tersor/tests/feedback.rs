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
use tersor::options::{CompressOptions, Feedback, Scope, Target};
use tersor::{Compressor, Silent, verify};
use tersor_codec::{Coder, trellis};

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
        prices
            .begin((&SHAPE, 0), 64 * 48, 9, Some(4), (4, 1.0), false)
            .unwrap();
        (0..9).map(|s| prices.price(s)).collect::<Vec<_>>()
    };
    assert_eq!(probe(&mut prices), probe(&mut anew));
    assert!(
        bits[1] < bits[0],
        "the second is coded with what the first taught: {bits:?}"
    );
}

/// A checkpoint of one layer and a bias, with a sensitivity file of equal values and the layer's moments.
fn layer(shape: &[u64], moments: &[Tensor]) -> (tersor::checkpoint::Checkpoint, SensitivityFile) {
    let n = shape.iter().product::<u64>() as usize;
    let weight = f32s("fc.weight", shape, &bell(21, n, 0.1));
    let original = checkpoint(vec![
        weight,
        f32s("fc.bias", &shape[..1], &bell(22, shape[0] as usize, 0.1)),
    ]);
    let mut tensors = vec![f32s("fc.weight", &[1], &[1.0]), f32s("fc.bias", &[1], &[20.0])];
    tensors.extend_from_slice(moments);
    (original, SensitivityFile::new(tensors))
}

fn gram(key: &str, blocks: u64, n: usize) -> Tensor {
    f32s(
        key,
        &[blocks, n as u64, n as u64],
        &correlated(n).repeat(blocks as usize),
    )
}

/// `tr(E G E^T)`: the mean square of what outputs are off by, summed over outputs.
fn output_error(original: &[f32], decoded: &[f32], gram: &[f32], n_in: usize) -> f64 {
    let errors: Vec<f64> = original
        .iter()
        .zip(decoded)
        .map(|(&w, &v)| f64::from(w) - f64::from(v))
        .collect();
    let row = |e: &[f64]| -> f64 {
        let dot = |g: &[f32]| g.iter().zip(e).map(|(&g, e)| f64::from(g) * e).sum::<f64>();
        gram.chunks_exact(n_in).zip(e).map(|(g, e)| e * dot(g)).sum()
    };
    errors.chunks_exact(n_in).map(row).sum()
}

#[test]
fn at_equal_size_outputs_are_off_by_less_with_feedback() {
    let (n_in, names) = (96, ["1", "2", "3", "4"]);
    let weight = |(seed, name): (u64, &&str)| f32s(name, &[64, 96], &bell(seed, 64 * 96, 0.1));
    let original = checkpoint((31..).zip(&names).map(weight).collect());
    let mut tensors: Vec<Tensor> = names.iter().map(|name| f32s(name, &[1], &[1.0])).collect();
    tensors.extend(
        names
            .iter()
            .map(|name| gram(&format!("module.{name}::gram"), 1, n_in)),
    );
    let file = SensitivityFile::new(tensors);
    for coder in [Some(Coder::Ans), Some(Coder::Context)] {
        for bpw in [1.5, 3.0] {
            let errors = [Feedback::Auto, Feedback::Off].map(|feedback| {
                let options = CompressOptions::default()
                    .with_sensitivity(&file.path)
                    .with_coder(coder)
                    .with_feedback(feedback)
                    .with_target(Target::Bpw(bpw));
                let found = compress(&original, options);
                let size = found.report.bpw;
                assert!(
                    (0.99 * bpw..=bpw).contains(&size),
                    "{coder:?} {feedback:?}: {size} of {bpw}"
                );
                let used = found.report.tensors[0].assignment;
                let otherwise = (coder == Some(Coder::Context)).then_some("trellis");
                assert_eq!(
                    used,
                    if feedback == Feedback::Auto {
                        Some("feedback")
                    } else {
                        otherwise
                    }
                );
                let decoded = decode(&found.bytes);
                let error = |name: &&str| {
                    let (w, v) = (floats(&original, name), floats(&decoded, name));
                    output_error(&w, &v, &correlated(n_in), n_in)
                };
                names.iter().map(error).sum::<f64>()
            });
            // Errors of nearest levels are white, so that outputs are off by tr(G) of them; at high rate feedback leaves
            // n det(G)^(1/n) instead, which is 0.19 n here: 1 - 0.9^2. A third has room for the weights at the end.
            let share = errors[0] / errors[1];
            assert!(share < 0.33, "{coder:?} at {bpw} bits per weight: {share}");
        }
    }
}

#[test]
fn without_feedback_moments_change_nothing() {
    let (original, with) = layer(&[32, 24], &[gram("fc.weight::gram", 1, 24)]);
    let (_, without) = layer(&[32, 24], &[]);
    let bytes = |file: &SensitivityFile, feedback| {
        let options = CompressOptions::default()
            .with_sensitivity(&file.path)
            .with_feedback(feedback);
        compress(&original, options).bytes
    };
    let options = CompressOptions::default().with_sensitivity(&with.path);
    let compressor = Compressor::new(&original, options).unwrap();
    assert!(
        compressor.uses_feedback(0) && !compressor.uses_feedback(1),
        "the bias has no moments"
    );
    assert!(bytes(&with, Feedback::Off) == bytes(&without, Feedback::Auto));
    assert!(bytes(&with, Feedback::Auto) != bytes(&without, Feedback::Auto));
}

#[test]
fn groups_and_blocks_of_moments_are_used_with_every_coder() {
    for (shape, moments) in [
        (&[16, 3, 3, 3][..], gram("fc.weight::gram", 4, 27)),
        (&[16, 27], gram("fc.weight::gram", 3, 10)),
        (&[16, 1, 3, 3], gram("fc.weight::gram", 16, 9)),
    ] {
        let (original, file) = layer(shape, &[moments]);
        for coder in [Some(Coder::Ans), Some(Coder::Context), None] {
            let options = CompressOptions::default()
                .with_sensitivity(&file.path)
                .with_coder(coder)
                .with_target(Target::Slope(1e-4));
            let found = compress(&original, options);
            assert_eq!(found.report.tensors[0].assignment, Some("feedback"), "{shape:?}");
            let decoded = decode(&found.bytes);
            let error = squared_error(&original, &decoded, "fc.weight");
            assert_close(error, reported_error(&found, "fc.weight"), "squared error");
            let n = shape.iter().product::<u64>() as f64;
            assert!(
                error < 0.2 * 0.01 * n,
                "{shape:?} {coder:?}: noise {}",
                error / (0.01 * n)
            );
        }
    }
}

#[test]
fn damaged_moments_are_refused_by_name_with_a_remedy() {
    let mut negative = correlated(24);
    negative[25] = -1.0;
    let mut lopsided = correlated(24);
    lopsided[1] = 0.1;
    let mut not_a_number = correlated(24);
    not_a_number[7] = f32::NAN;
    let square = |values: &[f32]| f32s("fc.weight::gram", &[1, 24, 24], values);
    let good = || square(&correlated(24));
    for (moments, key, expected) in [
        (
            vec![gram("fc.weight::gram", 1, 23)],
            "gram",
            "[groups, n, n] with 24 inputs",
        ),
        (
            vec![gram("fc.weight::gram", 5, 24)],
            "gram",
            "[groups, n, n] with 24 inputs",
        ),
        (vec![square(&negative)], "gram", "-1"),
        (vec![square(&not_a_number)], "gram", "NaN"),
        (vec![square(&lopsided)], "gram", "inputs 0 and 1"),
        (
            vec![raw("fc.weight::gram", Dtype::I32, &[1, 1, 1], &[0; 4])],
            "gram",
            "i32",
        ),
        (
            vec![good(), gram("module.fc.weight::gram", 1, 24)],
            "gram",
            "another",
        ),
        (
            vec![good(), gram("fc.weight::cross", 2, 12)],
            "cross",
            "that of gram",
        ),
    ] {
        let (original, file) = layer(&[32, 24], &moments);
        let message = refusal(&original, CompressOptions::default().with_sensitivity(&file.path));
        for part in [key, expected, "fc.weight::", "--feedback off"] {
            assert!(
                message.to_lowercase().contains(&part.to_lowercase()),
                "{part:?} in {message}"
            );
        }
        let off = CompressOptions::default()
            .with_sensitivity(&file.path)
            .with_feedback(Feedback::Off);
        try_compress(&original, off).unwrap();
    }
}

#[test]
fn singular_moments_are_damped() {
    let constant = f32s("fc.weight::gram", &[1, 24, 24], &[1.0; 576]);
    let zero = f32s("fc.weight::gram", &[1, 24, 24], &[0.0; 576]);
    for moments in [constant, zero] {
        let (original, file) = layer(&[32, 24], &[moments]);
        let found = compress(&original, CompressOptions::default().with_sensitivity(&file.path));
        assert_eq!(found.report.tensors[0].assignment, Some("feedback"));
    }
}

#[test]
fn feedback_gives_the_same_bytes_for_any_number_of_threads() {
    let moments = [gram("a.weight::gram", 1, 50), gram("b.weight::gram", 1, 60)];
    let mut tensors = vec![f32s("a.weight", &[1], &[1.0]), f32s("b.weight", &[1], &[2.0])];
    tensors.extend(moments);
    let (original, file) = (small(), SensitivityFile::new(tensors));
    for coder in [Coder::Ans, Coder::Context] {
        // Both matrices in one group, or each in its own.
        for group_elements in [1 << 20, 2500] {
            let bytes = [1, 2].map(|threads| {
                let mut options = CompressOptions::default()
                    .with_sensitivity(&file.path)
                    .with_coder(Some(coder))
                    .with_target(Target::Bpw(3.0));
                options.group_elements = group_elements;
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| compress(&original, options).bytes)
            });
            assert!(bytes[0] == bytes[1], "{coder:?} {group_elements}");
        }
    }
}

#[test]
fn without_moments_errors_of_convolutions_balance() {
    let (shape, n_in) = ([48, 24, 3, 3], 24 * 9);
    let original = checkpoint(vec![
        f32s("conv", &shape, &bell(3, 48 * n_in, 0.1)),
        f32s("matrix", &[64, 64], &bell(4, 64 * 64, 0.1)),
    ]);
    // Inputs that are half their mean.
    let gram: Vec<f32> = (0..n_in * n_in)
        .map(|i| if i % (n_in + 1) == 0 { 1.0 } else { 0.5 })
        .collect();
    for (coder, scope) in [
        (Coder::Ans, Scope::Tensor),
        (Coder::Context, Scope::Tensor),
        (Coder::Ans, Scope::Global),
    ] {
        let errors = [Feedback::Auto, Feedback::Off].map(|feedback| {
            let options = CompressOptions::default()
                .with_coder(Some(coder))
                .with_scope(scope)
                .with_feedback(feedback)
                .with_target(Target::Bpw(3.0));
            let found = compress(&original, options);
            assert!(found.report.bpw <= 3.0);
            let used = [0, 1].map(|i| found.report.tensors[i].assignment);
            let otherwise = (coder == Coder::Context).then_some("trellis");
            let balanced = (feedback == Feedback::Auto).then_some("balanced");
            assert_eq!(used, [balanced.or(otherwise), otherwise]);
            let (w, v) = (floats(&original, "conv"), floats(&decode(&found.bytes), "conv"));
            output_error(&w, &v, &gram, n_in)
        });
        let share = errors[0] / errors[1];
        // On a trellis errors are small as it is.
        let most = if coder == Coder::Context { 0.75 } else { 0.6 };
        assert!(share < most, "{coder:?} {scope:?}: {share}");
    }
}

/// Whether multiples of a step are a path on the trellis of the coder `context`, from its first state on.
fn is_path(multiples: impl Iterator<Item = i32>) -> bool {
    let mut state = 0;
    multiples.into_iter().all(|multiple| {
        let index = trellis::index(trellis::quantizer(state), multiple);
        state = trellis::next(state, index.unwrap_or(0));
        index.is_some()
    })
}

fn multiples(layer: &LayerSymbols) -> impl Iterator<Item = i32> {
    layer.symbols.iter().map(|&s| layer.grid.first + i32::from(s))
}

#[test]
fn a_file_has_layers_on_a_trellis_where_that_can_be_and_is_wanted() {
    let (original, with) = layer(&SHAPE, &[gram("fc.weight::gram", 1, 48)]);
    let (_, without) = layer(&SHAPE, &[]);
    let on_trellis = |file: &SensitivityFile, coder, wanted| {
        let mut options = CompressOptions::default()
            .with_sensitivity(&file.path)
            .with_coder(Some(coder))
            .with_target(Target::Bpw(3.0));
        options.trellis = wanted;
        let bytes = compress(&original, options).bytes;
        let decoded = QuantizedCheckpoint::decode(&bytes, Limits::default()).unwrap();
        let TensorData::Quantized {
            codebook, symbols, ..
        } = &decoded.tensors[0].data
        else {
            panic!("fc.weight is quantized");
        };
        let zero = decoded.codebooks[*codebook].zero_symbol().unwrap();
        is_path(symbols.iter().map(|&s| i32::from(s) - i32::from(zero)))
    };
    for file in [&with, &without] {
        assert!(on_trellis(file, Coder::Context, true));
        assert!(!on_trellis(file, Coder::Context, false));
        assert!(!on_trellis(file, Coder::Ans, true));
    }
}

#[test]
fn at_the_finest_step_a_trellis_fits_too() {
    let weights = bell(9, 64 * 48, 0.1);
    let moments = correlated(48);
    let layer = Layer::new(&weights, Gram::new(&moments, 48, 48).unwrap());
    let problem = Problem::new(&layer, &FeedbackConfig::default()).unwrap();
    let info = f32s("w", &SHAPE, &weights).0;
    let step = feedback::step(Span::of_slice(&weights), 64 * 48, 0.0, 1.0);
    let found = feedback::quantize(
        &info,
        &[problem],
        step,
        0.0,
        Prices::Context(&mut ContextPrices::new()),
    );
    assert!(is_path(multiples(&found.unwrap())));
}

#[test]
fn what_could_not_gain_stays_off_the_trellis() {
    // Rows of few inputs, and all but no symbols other than zero.
    let weights = bell(9, 96 * 8, 0.1);
    let mut moments = vec![0.0; 64];
    (0..8).for_each(|i| moments[9 * i] = 1.0);
    let layer = Layer::new(&weights, Gram::new(&moments, 8, 8).unwrap());
    let problem = Problem::new(&layer, &FeedbackConfig::default()).unwrap();
    let info = f32s("w", &[96, 8], &weights).0;
    let prices = &mut ContextPrices::new();
    let found = feedback::quantize(&info, &[problem], 0.05, 1e-4, Prices::Context(prices)).unwrap();
    assert!(!is_path(multiples(&found)));

    let mut weights = vec![0.01; 64 * 48];
    (0..5).for_each(|i| weights[500 * i + 7] = 0.5);
    let moments = correlated(48);
    let layer = Layer::new(&weights, Gram::new(&moments, 48, 48).unwrap());
    let problem = || Problem::new(&layer, &FeedbackConfig::default()).unwrap();
    let info = f32s("w", &SHAPE, &weights).0;
    let quantize = |step| {
        let prices = &mut ContextPrices::new();
        feedback::quantize(&info, &[problem()], step, 1e-2, Prices::Context(prices)).unwrap()
    };
    let found = quantize(0.5);
    assert!(multiples(&found).filter(|&m| m != 0).count() < trellis::FEWEST);
    assert_eq!(found.grid.step, 0.5);
}

#[test]
fn a_layer_on_a_trellis_is_smaller_at_the_same_loss() {
    let weights = bell(9, 64 * 48, 0.1);
    let moments = correlated(48);
    let layer = Layer::new(&weights, Gram::new(&moments, 48, 48).unwrap());
    let info = f32s("w", &SHAPE, &weights).0;
    let slope = 1e-4;
    let step = feedback::step(Span::of_slice(&weights), 64 * 48, slope, 1.0);
    let cost = |wanted| {
        let config = FeedbackConfig {
            trellis: wanted,
            ..FeedbackConfig::default()
        };
        let problem = Problem::new(&layer, &config).unwrap();
        let found = feedback::quantize(
            &info,
            &[problem],
            step,
            slope,
            Prices::Context(&mut ContextPrices::new()),
        )
        .unwrap();
        assert_eq!(is_path(multiples(&found)), wanted);
        let segment = tersor_codec::SegmentInput::Symbols {
            symbols: &found.symbols,
            n_levels: found.grid.n_levels,
            zero: u16::try_from(-found.grid.first).ok(),
            shape: &SHAPE,
            first: 0,
        };
        let bits = ContextPrices::new().take(&segment).unwrap();
        (found.report.distortion + slope * bits, bits)
    };
    let ((scalar, bits), (path, _)) = (cost(false), cost(true));
    let gain = (scalar - path) / slope;
    assert!(gain > 0.04 * bits, "{gain} of {bits} bits");
}

#[test]
fn the_trellis_of_the_quantizer_is_that_of_the_coder() {
    for state in 0..trellis::N_STATES {
        for index in -5..=5 {
            let next = tersor_quant::trellis::States::Eight.next(state, index % 2 != 0);
            assert_eq!(next, trellis::next(state, index));
            let quantizer = trellis::quantizer(state);
            assert_eq!(tersor_quant::trellis::quantizer(state), quantizer);
            let multiple = tersor_quant::trellis::multiple(quantizer, index);
            assert_eq!(multiple, i64::from(trellis::multiple(quantizer, index)));
        }
    }
}
