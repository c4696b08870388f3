//! Rows with scales: files of equal size lose less where some rows matter less, and reports tell what is lost.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use support::*;
use tersor::feedback::{Grid, LayerSymbols};
use tersor::inspect::inspect;
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Compressed, Compressor, RowScales, Silent};
use tersor_codec::{Coder, Dtype, FileReader, Limits, Scales, Storage};

const ROWS: usize = 256;
const COLUMNS: usize = 64;

/// An embedding whose tokens are the rarer the later, and a layer whose rows are alike.
fn model(dtype: Dtype) -> Vec<Tensor> {
    vec![
        typed(
            "embedding",
            dtype,
            &[ROWS as u64, COLUMNS as u64],
            &bell(51, ROWS * COLUMNS, 0.5),
        ),
        typed("layer", dtype, &[64, 64], &bell(52, 64 * 64, 0.1)),
    ]
}

/// Frequencies over three orders of magnitude.
fn frequency(row: usize) -> f32 {
    1000f32.powf(-(row as f32) / ROWS as f32)
}

fn sensitivities() -> Vec<Tensor> {
    let rows: Vec<f32> = (0..ROWS).map(frequency).collect();
    vec![
        f32s("embedding", &[ROWS as u64, 1], &rows),
        f32s("layer", &[1], &[1.0]),
    ]
}

fn options(file: &SensitivityFile, row_scales: bool) -> CompressOptions {
    let mut options = CompressOptions::default().with_sensitivity(&file.path);
    options.row_scales = row_scales;
    options
}

fn scales(found: &Compressed, index: usize) -> Option<Scales> {
    let reader = FileReader::new(&found.bytes, Limits::NONE).unwrap();
    let Storage::Quantized { scales, .. } = &reader.directory().entries[index].storage else {
        panic!("tensor {index} is not quantized");
    };
    let told = inspect(&reader, found.bytes.len() as u64).tensors[index].n_scales;
    assert_eq!(told, scales.as_ref().map(|s| s.values.len()));
    scales.clone()
}

/// Losses of the decoded rows of the embedding, by frequency, and the squared error of all.
fn losses(original: &[f32], decoded: &[f32]) -> (f64, f64) {
    let error = |i: usize| f64::from(original[i]) - f64::from(decoded[i]);
    let loss = |i: usize| 0.5 * f64::from(frequency(i / COLUMNS)) * error(i).powi(2);
    let all = 0..original.len();
    (all.clone().map(loss).sum(), all.map(|i| error(i).powi(2)).sum())
}

#[test]
fn rows_that_matter_less_get_larger_steps() {
    let file = SensitivityFile::new(sensitivities());
    for dtype in [Dtype::F32, Dtype::F16] {
        let original = checkpoint(model(dtype));
        let weights = floats(&original, "embedding");
        for coder in [Coder::Ans, Coder::Context] {
            let [with, without] = [true, false].map(|row_scales| {
                let options = options(&file, row_scales)
                    .with_coder(Some(coder))
                    .with_target(Target::Bpw(4.0));
                compress(&original, options)
            });
            assert_eq!((scales(&with, 1), scales(&without, 0)), (None, None));
            let found = scales(&with, 0).unwrap();
            assert_eq!((found.axis, found.values.len()), (0, ROWS));
            assert!(found.values.is_sorted(), "rarer rows have larger ones");
            let few: std::collections::BTreeSet<u32> = found.values.iter().map(|s| s.to_bits()).collect();
            assert!(few.len() < 24, "{} different scales", few.len());

            let [ours, theirs] = [&with, &without].map(|found| {
                let decoded = decode(&found.bytes);
                let (loss, squared) = losses(&weights, &floats(&decoded, "embedding"));
                let told = &found.report.tensors[0];
                assert_close(told.squared_error.unwrap(), squared, "the squared error");
                loss
            });
            // A row's share of the bits follows its frequency: without scales only zeros and near levels do.
            eprintln!("{dtype} {coder}: {:.3} of the loss", ours / theirs);
            assert!(ours < 0.75 * theirs, "{dtype} {coder}: {ours} {theirs}");
        }
    }
}

#[test]
fn without_rows_that_differ_nothing_changes() {
    let original = checkpoint(model(Dtype::F32));
    let alike = SensitivityFile::new(vec![f32s("embedding", &[1], &[1.0]), f32s("layer", &[1], &[1.0])]);
    let bytes = |row_scales| compress(&original, options(&alike, row_scales)).bytes;
    assert!(bytes(true) == bytes(false));
    let mut none = CompressOptions::default();
    none.row_scales = true;
    assert!(compress(&original, none).bytes == compress(&original, CompressOptions::default()).bytes);
}

#[test]
fn other_methods_and_shared_codebooks_have_no_scales() {
    let original = checkpoint(model(Dtype::F32));
    let file = SensitivityFile::new(sensitivities());
    for (method, scope) in [
        (Method::Uniform, Scope::Tensor),
        (Method::HessianKMeans, Scope::Tensor),
        (Method::Grid, Scope::Global),
    ] {
        let options = options(&file, true).with_method(method).with_scope(scope);
        assert_eq!(scales(&compress(&original, options), 0), None, "{method}");
    }
}

#[test]
fn rows_with_scales_are_fed_back_their_errors_too() {
    let original = checkpoint(model(Dtype::F32));
    let moments: Vec<f32> = (0..COLUMNS * COLUMNS)
        .map(|i| 0.9f32.powi((i / COLUMNS).abs_diff(i % COLUMNS) as i32))
        .collect();
    let n = COLUMNS as u64;
    let mut tensors = sensitivities();
    tensors.push(f32s("embedding::gram", &[n, n], &moments));
    let file = SensitivityFile::new(tensors);
    for coder in [Coder::Ans, Coder::Context] {
        let options = options(&file, true)
            .with_coder(Some(coder))
            .with_target(Target::Bpw(4.0));
        let found = compress(&original, options);
        assert_eq!(found.report.tensors[0].assignment, Some("feedback"));
        assert!(scales(&found, 0).is_some());
        let (weights, decoded) = (
            floats(&original, "embedding"),
            floats(&decode(&found.bytes), "embedding"),
        );
        let (_, squared) = losses(&weights, &decoded);
        let told = found.report.tensors[0].squared_error.unwrap();
        assert_close(told, squared, "the squared error");
        // Frequent rows are more precise than rare ones.
        let error = |row: usize| -> f64 {
            let row = row * COLUMNS..(row + 1) * COLUMNS;
            row.map(|i| f64::from(weights[i] - decoded[i]).powi(2)).sum()
        };
        let sum = |rows: std::ops::Range<usize>| rows.map(error).sum::<f64>();
        assert!(20.0 * sum(0..32) < sum(ROWS - 32..ROWS));
    }
}

#[test]
fn scales_of_a_tensor_that_is_used_twice_follow_the_sum_of_both_uses() {
    let mut tensors = model(Dtype::F32);
    let (mut head, bytes) = tensors[0].clone();
    head.name = "head".into();
    tensors.push((head, bytes));
    let original = checkpoint(tensors);
    // What is rare as an input is frequent as an output.
    let frequencies: Vec<f32> = (0..ROWS).map(|row| frequency(ROWS - 1 - row)).collect();
    let mut both = sensitivities();
    both.push(f32s("head", &[ROWS as u64, 1], &frequencies));
    let [with, without] = [both, sensitivities()].map(|tensors| {
        let file = SensitivityFile::new(tensors);
        let found = compress(&original, options(&file, true));
        let decoded = decode(&found.bytes);
        assert!(floats(&decoded, "embedding") == floats(&decoded, "head"));
        scales(&found, 0).map_or(1.0, |scales| scales.values[ROWS - 1])
    });
    assert!(with < 1.0 && without > 2.0, "{with} {without}");
}

#[test]
fn symbols_that_come_with_scales_keep_them() {
    let weights = bell(61, 6 * 40, 0.2);
    let original = checkpoint(vec![f32s("w", &[6, 40], &weights)]);
    let grid = Grid {
        step: 0.25,
        first: -8,
        n_levels: 17,
    };
    let factors = [0.5f32, 1.0, 1.0, 2.0, 1.5, 0.75];
    let divided: Vec<f32> = weights
        .chunks(40)
        .zip(factors)
        .flat_map(|(row, factor)| row.iter().map(move |w| w / factor))
        .collect();
    let symbols = divided
        .iter()
        .map(|w| ((w / 0.25).round() as i32 + 8).clamp(0, 16) as u16);
    let layer = LayerSymbols::new(grid, symbols.collect(), &divided, 0.5);
    let compress = |layer: LayerSymbols| {
        let given = [("w".to_owned(), layer)];
        let compressor = Compressor::with_symbols(&original, CompressOptions::default(), given, &Silent)?;
        compressor.compress(&Target::Slope(1e-4), &Silent)
    };
    let scaled = layer
        .clone()
        .with_scales(RowScales::of_rows(factors.to_vec(), 240));
    let found = compress(scaled.clone()).unwrap();
    let decoded = decode(&found.bytes);
    assert!(floats(&decoded, "w") == scaled.values());
    assert_eq!(scales(&found, 0).unwrap().values, factors);
    let told = found.report.tensors[0].squared_error.unwrap();
    assert_close(told, squared_error(&original, &decoded, "w"), "the squared error");

    let steep = Grid { step: 4.0, ..grid };
    let steep = LayerSymbols::new(steep, layer.symbols.clone(), &divided, 0.5);
    for (layer, factors, message) in [
        (
            &layer,
            vec![1.0; 5],
            "5 scales; there must be a positive one for each of 6 rows",
        ),
        (&layer, vec![0.0; 6], "must be a positive one"),
        (&steep, vec![f32::MAX; 6], "is not a finite F32"),
    ] {
        let refused = compress(layer.clone().with_scales(RowScales::of_rows(factors, 240))).unwrap_err();
        assert!(refused.to_string().contains(message), "{refused}");
    }
}
