//! From a checkpoint to a file and back: what comes out is what went in, as far as the report says.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use rayon::ThreadPoolBuilder;
use std::collections::HashMap;
use support::*;
use tersor::checkpoint::Checkpoint;
use tersor::options::{CompressOptions, Method, Override, Scope, Target, parse_glob};
use tersor::{Compressor, Error, Silent, inspect, synthetic, verify};
use tersor_codec::{Coder, FileReader, Limits, Storage};
use tersor_quant::uniform::Centres;

const FLOOR: f64 = 0.05;
/// The two names of one tensor.
const TIED: [&str; 2] = ["classifier.weight", "classifier.tied"];

/// Predicted loss by the definition: sum of h d^2 / 2, with h floored, and that of tensors which the file lacks such that
/// h x mean(w^2) is the median of the covered one-dimensional ones.
fn loss_by_hand(original: &Checkpoint, decoded: &Checkpoint, sensitivities: &Checkpoint) -> f64 {
    let mean = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    let energy = |values: &[f32]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>());
    let covered: HashMap<&str, Vec<f64>> = sensitivities
        .tensors()
        .iter()
        .map(|t| {
            let h = floats(sensitivities, &t.name);
            let add = FLOOR * mean(&h);
            (t.name.as_str(), h.iter().map(|&h| f64::from(h) + add).collect())
        })
        .collect();
    let mut stakes: Vec<f64> = original
        .tensors()
        .iter()
        .filter(|t| t.shape.len() == 1)
        .filter_map(|t| {
            let h = covered.get(t.name.as_str())?;
            Some(h.iter().sum::<f64>() / h.len() as f64 * energy(&floats(original, &t.name)))
        })
        .collect();
    stakes.sort_by(f64::total_cmp);
    let median = stakes[stakes.len() / 2];
    let mut loss = 0.0;
    for info in original
        .tensors()
        .iter()
        .filter(|t| t.dtype.is_float() && t.name != TIED[1])
    {
        let (w, v) = (floats(original, &info.name), floats(decoded, &info.name));
        let uniform = median / energy(&w);
        for (i, (&w, &v)) in w.iter().zip(&v).enumerate() {
            let h = covered.get(info.name.as_str()).map_or(uniform, |h| h[i]);
            loss += 0.5 * h * (f64::from(w) - f64::from(v)).powi(2);
        }
    }
    loss
}

#[test]
fn every_method_scope_and_coder_gives_back_what_it_reports() {
    let original = synthetic::checkpoint(1).unwrap();
    let sensitivities = synthetic::sensitivities(1).unwrap();
    let file = SensitivityFile::of(&sensitivities);
    let options = CompressOptions::default().with_sensitivity(&file.path);
    let mut compressor = Compressor::new(&original, options).unwrap();
    for method in Method::ALL {
        for scope in SCOPES {
            let mut sizes = Vec::new();
            let mut first: Option<Checkpoint> = None;
            for coder in Coder::ENTROPY.map(Some).into_iter().chain([None]) {
                compressor.set_method(method, scope, coder);
                let target = middling(&compressor, 3e-3);
                let compressed = compressor.compress(&target, &Silent).unwrap();
                let what = format!("{method} {scope} {coder:?}");
                sizes.push(compressed.bytes.len());
                assert_eq!(
                    compressed.report.file_bytes,
                    compressed.bytes.len() as u64,
                    "{what}"
                );
                if let Some(coder) = coder {
                    assert_eq!(compressed.report.coder, coder.name(), "{what}");
                }
                let decoded = decode(&compressed.bytes);
                assert_same_layout(&original, &decoded);
                let of_decoded: f64 = original
                    .tensors()
                    .iter()
                    .filter(|t| t.dtype.is_float() && t.name != TIED[1])
                    .map(|t| squared_error(&original, &decoded, &t.name))
                    .sum();
                assert_close(
                    compressed.report.squared_error,
                    of_decoded,
                    &format!("squared error, {what}"),
                );
                let loss = loss_by_hand(&original, &decoded, &sensitivities);
                assert_close(compressed.report.weighted_error, loss, &format!("loss, {what}"));
                let counter = "num_batches_tracked";
                assert_eq!(
                    bytes(&original, counter),
                    bytes(&decoded, counter),
                    "{what}: integers are exact"
                );
                assert_eq!(bytes(&decoded, TIED[0]), bytes(&decoded, TIED[1]), "{what}: tied");
                // On grids the coder that learns has its say in which symbols there are.
                if method == Method::Grid && compressed.report.coder == Coder::Context.name() {
                    continue;
                }
                if let Some(first) = &first {
                    for t in original.tensors() {
                        assert_eq!(
                            bytes(first, &t.name),
                            bytes(&decoded, &t.name),
                            "{what}: a coder loses nothing"
                        );
                    }
                }
                first.get_or_insert(decoded);
            }
            assert_eq!(
                sizes[4],
                *sizes.iter().min().unwrap(),
                "{method} {scope}: the smallest coder"
            );
            assert!(
                sizes[2] < sizes[0],
                "{method} {scope}: bell-shaped weights have less entropy than ceil(log2 n)"
            );
        }
    }
}

#[test]
fn tied_tensors_are_stored_once() {
    let original = synthetic::checkpoint(2).unwrap();
    let compressed = compress(&original, CompressOptions::default());
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    let entries = &reader.directory().entries;
    let at = |name: &str| entries.iter().position(|e| e.info.name == name).unwrap();
    assert_eq!(
        entries[at(TIED[1])].storage,
        Storage::Alias {
            target: at(TIED[0]),
            tied: false
        },
        "the copies are equal; a checkpoint in memory has no storage that names could share"
    );
    let stored = compressed
        .report
        .tensors
        .iter()
        .find(|t| t.name == TIED[1])
        .unwrap();
    assert_eq!(
        (stored.stored, stored.weighted_error),
        ("alias", None),
        "its error is counted under its first name"
    );

    let untied: Vec<_> = original
        .tensors()
        .iter()
        .filter(|t| t.name != TIED[1])
        .map(|t| (t.clone(), bytes(&original, &t.name)))
        .collect();
    let alone = compress(&checkpoint(untied), CompressOptions::default());
    let more = compressed.bytes.len().abs_diff(alone.bytes.len());
    assert!(
        more < 100,
        "a second name costs its name and metadata, not {more} bytes"
    );
}

#[test]
fn the_same_bytes_come_out_for_any_number_of_threads_and_every_time() {
    let original = synthetic::checkpoint(3).unwrap();
    let file = SensitivityFile::of(&synthetic::sensitivities(3).unwrap());
    for method in Method::ALL {
        for scope in SCOPES {
            let run = |threads: usize| {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let options = options(method, scope).with_sensitivity(&file.path);
                    let compressor = Compressor::new(&original, options).unwrap();
                    let target = middling(&compressor, 3e-3);
                    compressor.compress(&target, &Silent).unwrap().bytes
                })
            };
            let one = run(1);
            for threads in [2, 3, 3] {
                assert!(
                    one == run(threads),
                    "{method} {scope}: {threads} threads give other bytes than one"
                );
            }
        }
    }
}

#[test]
fn a_search_gives_the_same_bytes_for_any_number_of_threads() {
    // The second is large enough to be sampled.
    let large = bell(31, 500 * 400, 0.05);
    let originals = [
        synthetic::checkpoint(4).unwrap(),
        checkpoint(vec![f32s("large.weight", &[500, 400], &large)]),
    ];
    for original in &originals {
        let run = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = CompressOptions::default().with_target(Target::Bpw(2.0));
            pool.install(|| compress(original, options).bytes)
        };
        assert!(run(1) == run(3), "the path of a search depends on sizes alone");
    }
}

#[test]
fn pruned_weights_stay_exactly_zero() {
    let prune = |mut values: Vec<f32>, keep: f64| {
        let mut random = Random(9);
        for v in &mut values {
            *v = if random.unit() < keep { *v } else { 0.0 };
        }
        values
    };
    // A shift away from zero tempts cell means to leave it.
    let shifted: Vec<f32> = bell(12, 3000, 0.02).iter().map(|v| v + 0.05).collect();
    let original = checkpoint(vec![
        f32s("sparse", &[80, 100], &prune(bell(11, 8000, 0.05), 0.2)),
        f32s("shifted", &[60, 50], &prune(shifted, 0.5)),
        f32s("bias", &[300], &prune(bell(13, 300, 0.1), 0.5)),
    ]);
    for method in Method::ALL {
        for scope in SCOPES {
            for centres in [Centres::Grid, Centres::Mean, Centres::WeightedMean] {
                if centres != Centres::Grid && method != Method::Uniform {
                    continue;
                }
                for noise in [1e-1, 1e-3] {
                    let mut options = options(method, scope);
                    options.centres = centres;
                    let compressor = Compressor::new(&original, options).unwrap();
                    let target = middling(&compressor, noise);
                    let decoded = decode(&compressor.compress(&target, &Silent).unwrap().bytes);
                    for t in original.tensors() {
                        let pairs = floats(&original, &t.name)
                            .into_iter()
                            .zip(floats(&decoded, &t.name));
                        let moved = pairs.filter(|(w, v)| *w == 0.0 && *v != 0.0).count();
                        assert_eq!(
                            moved, 0,
                            "{method} {scope} {centres:?} at noise {noise}: zeros of {:?}",
                            t.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn kept_tensors_come_back_bit_for_bit() {
    let original = small();
    let mut options = CompressOptions::default();
    options.keep = vec![parse_glob("b.*").unwrap()];
    let compressed = compress(&original, options);
    let decoded = decode(&compressed.bytes);
    assert_eq!(bytes(&original, "b.weight"), bytes(&decoded, "b.weight"));
    assert_ne!(
        bytes(&original, "a.weight"),
        bytes(&decoded, "a.weight"),
        "the others are quantized"
    );
    let kept = &compressed.report.tensors[2];
    assert_eq!(
        (kept.stored, kept.reason.as_deref()),
        ("raw", Some("kept as asked"))
    );
}

#[test]
fn a_pattern_that_matches_nothing_is_refused() {
    let mut options = CompressOptions::default();
    options.keep = vec![parse_glob("conv*").unwrap()];
    let message = refusal(&small(), options);
    assert!(message.contains("'conv*' matches no tensor"), "{message}");
    let mut options = CompressOptions::default();
    options.overrides = vec!["c.*=x0.5".parse().unwrap()];
    let message = refusal(&small(), options);
    assert!(message.contains("'c.*' matches no tensor"), "{message}");
}

#[test]
fn a_factor_below_one_lowers_the_error_of_its_tensors_alone() {
    for method in SLOPED {
        let run = |rules: &[&str]| {
            let mut options = options(method, Scope::Tensor).with_target(Target::Slope(1e-4));
            options.overrides = rules.iter().map(|r| r.parse::<Override>().unwrap()).collect();
            compress(&small(), options)
        };
        let (plain, finer, last) = (run(&[]), run(&["a.*=x0.1"]), run(&["*=x0.1", "b*=x1"]));
        for name in ["a.weight", "a.bias"] {
            let (before, after) = (reported_error(&plain, name), reported_error(&finer, name));
            assert!(
                after < before,
                "{method}: a tenth of the slope in {name}: {before:e} -> {after:e}"
            );
        }
        let (before, after) = (
            reported_error(&plain, "b.weight"),
            reported_error(&finer, "b.weight"),
        );
        assert_eq!(before, after, "{method}: the others keep theirs");
        assert!(
            finer.bytes == last.bytes,
            "{method}: the last rule that matches counts"
        );
    }
}

#[test]
fn a_rule_that_could_have_no_effect_is_refused() {
    for (method, rule) in [
        (Method::KMeans, "b*=x0.5"),
        (Method::HessianKMeans, "b*=s0.1"),
        (Method::Grid, "b*=k4"),
    ] {
        let mut options = options(method, Scope::Tensor);
        options.overrides = vec![rule.parse().unwrap()];
        let message = refusal(&small(), options);
        assert!(
            message.contains("\"b.weight\"") && message.contains(&rule[3..]),
            "{message}"
        );
    }
    let with = |keep: &[&str], rules: &[&str]| {
        let mut options = CompressOptions::default();
        options.keep = keep.iter().map(|glob| parse_glob(glob).unwrap()).collect();
        options.overrides = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        options
    };
    let refused = |keep: &[&str], rules: &[&str], useless: &str| {
        let message = refusal(&small(), with(keep, rules));
        let start = format!("the rule '{useless}' has no effect");
        assert!(message.starts_with(&start), "{message}");
    };
    refused(&[], &["a.bias=kmeans,k4"], "a.bias=kmeans,k4");
    refused(&["b*"], &["b.weight=x2"], "b.weight=x2");
    refused(&[], &["b.weight=x2", "b*=x4"], "b.weight=x2");
    // A later rule may undo an earlier one, and a rule count for one of many tensors.
    compress(&small(), with(&["b*"], &["*=x2", "a.weight=x1"]));
}

#[test]
fn under_a_step_a_rule_needs_a_slope_of_its_own() {
    let with = |rule: &str| {
        let mut options = options(Method::Uniform, Scope::Tensor).with_target(Target::Step(0.0625));
        options.overrides = vec![rule.parse().unwrap()];
        options
    };
    for (rule, why) in [
        ("b.weight=grid", "it needs a slope of its own (sS)"),
        ("b.weight=ecsq", "it needs a slope of its own (sS)"),
        ("b.weight=x0.5", "there is no common slope"),
    ] {
        let message = refusal(&small(), with(rule));
        assert!(
            message.contains("\"b.weight\"") && message.contains(why),
            "{message}"
        );
    }
    for rule in [
        "b.weight=grid,s1e-4",
        "b.weight=s1e-4",
        "b.weight=kmeans",
        "a.bias=x0.5",
    ] {
        compress(&small(), with(rule));
    }
}

#[test]
fn a_tensor_can_have_its_own_method_slope_and_levels_in_any_scope() {
    for scope in SCOPES {
        let run = |rule: &str| {
            let mut options = options(Method::Grid, scope).with_target(Target::Slope(1e-4));
            options.overrides = vec![rule.parse().unwrap()];
            compress(&small(), options)
        };
        let levels = |c: &tersor::Compressed| {
            c.report
                .tensors
                .iter()
                .find(|t| t.name == "b.weight")
                .unwrap()
                .levels
                .unwrap()
        };
        assert_eq!(
            levels(&run("b.weight=kmeans,k5")),
            5,
            "{scope}: as many levels as asked for"
        );
        let (fine, coarse) = (run("b.weight=uniform,s1e-6"), run("b.weight=uniform,s1e-3"));
        let error = |c| reported_error(c, "b.weight");
        assert!(
            error(&fine) < error(&coarse),
            "{scope}: a smaller slope is more precise"
        );
        let factor = run("b.weight=x0.1");
        assert!(
            error(&factor) < error(&run("b.weight=x1")),
            "{scope}: a tenth of the slope is more precise"
        );
    }
}

#[test]
fn malformed_overrides_are_refused_with_the_form_wanted() {
    for text in [
        "a.*",
        "a.*=0.5",
        "a.*=xfast",
        "=x",
        "a=x0",
        "a=x-1",
        "a=xnan",
        "a=xinf",
        "a[=x1",
    ] {
        let message = text.parse::<Override>().unwrap_err().to_string();
        assert!(
            message.contains(text) || message.contains("a["),
            "{text}: {message}"
        );
    }
}

#[test]
fn the_numbers_of_inspect_add_up() {
    let original = synthetic::checkpoint(5).unwrap();
    let compressed = compress(&original, CompressOptions::default());
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    let file_bytes = compressed.bytes.len() as u64;
    let report = inspect::inspect(&reader, file_bytes);
    assert_eq!(report.file_bytes, file_bytes);
    assert_eq!(report.symbol_bytes + report.side_bytes, file_bytes);
    let groups: u64 = reader.directory().groups.iter().map(|g| g.size_bytes).sum();
    assert_eq!(
        report.header_bytes + groups,
        file_bytes,
        "a header and groups, nothing else"
    );
    assert!(report.header_bytes <= report.side_bytes);
    assert_eq!(report.n_tensors, original.tensors().len());
    let summary = &compressed.report;
    assert_eq!(
        report.size, summary.size,
        "what ratios refer to, equal tensors as often as safetensors stores them"
    );
    assert_close(report.ratio, summary.ratio, "ratio");
    assert_close(report.bpw, summary.bpw, "bits per weight");
    assert_close(report.ratio_paper, summary.ratio_paper, "ratio of the paper");
    for (told, done) in report.tensors.iter().zip(&summary.tensors) {
        assert_eq!((&told.name, &told.shape), (&done.name, &done.shape));
        assert_eq!(told.dtype, done.dtype);
    }
    verify::verify(&reader, &Silent).unwrap();
}

#[test]
fn inspect_tells_what_each_tensor_takes_where_it_can_be_told() {
    let original = small();
    let bytes = |coder: Coder| -> Vec<Option<u64>> {
        let options = CompressOptions::default().with_coder(Some(coder));
        let compressed = compress(&original, options);
        let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
        let file_bytes = compressed.bytes.len() as u64;
        let report = inspect::inspect(&reader, file_bytes);
        let bytes: Vec<_> = report.tensors.iter().map(|t| t.bytes).collect();
        if let Some(sum) = bytes.iter().copied().sum::<Option<u64>>() {
            let groups: u64 = reader.directory().groups.iter().map(|g| g.size_bytes).sum();
            assert!(sum.abs_diff(groups) < 8, "{sum} of {groups}");
            let weights: u64 = report
                .tensors
                .iter()
                .filter(|t| t.shape.len() > 1)
                .filter_map(|t| t.bytes)
                .sum();
            assert!(weights.abs_diff(report.symbol_bytes) < 4);
        }
        bytes
    };
    assert!(bytes(Coder::Context).iter().all(|b| b.is_some_and(|b| b > 0)));
    assert!(bytes(Coder::Ans).contains(&None), "tables are shared");
}

#[test]
fn comparing_tells_what_is_identical_and_what_is_not() {
    let original = small();
    let mut options = CompressOptions::default();
    options.keep = vec![parse_glob("b.*").unwrap()];
    let compressed = compress(&original, options);
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    let report = verify::compare(&reader, &original, &Silent).unwrap();
    assert!(report.same_layout);
    let identical: Vec<bool> = report.tensors.iter().map(|t| t.identical).collect();
    assert_eq!(identical, [false, false, true], "only what is kept");
    assert_eq!((report.tensors[2].max_abs, report.tensors[2].rms), (0.0, 0.0));
    assert_close(
        report.squared_error,
        compressed.report.squared_error,
        "squared error",
    );

    // Another network: one tensor missing, one more, one of another shape, one of another type.
    let other = checkpoint(vec![
        f32s("a.weight", &[50, 60], &bell(1, 3000, 0.1)),
        typed("a.bias", tersor_codec::Dtype::F16, &[60], &bell(2, 60, 0.3)),
        f32s("c.weight", &[2], &[1.0, 2.0]),
    ]);
    let report = verify::compare(&reader, &other, &Silent).unwrap();
    assert!(!report.same_layout);
    assert_eq!(report.missing, ["c.weight"]);
    assert_eq!(report.unexpected, ["b.weight"]);
    let forms: Vec<_> = report
        .misshapen
        .iter()
        .map(|m| {
            (
                &*m.name,
                m.file.dtype,
                &*m.file.shape,
                m.original.dtype,
                &*m.original.shape,
            )
        })
        .collect();
    assert_eq!(
        forms,
        [
            ("a.weight", "F32", &[60, 50][..], "F32", &[50, 60][..]),
            ("a.bias", "F32", &[60], "F16", &[60]),
        ]
    );
    assert!(report.tensors.is_empty());
}

#[test]
fn names_are_compared_with_or_without_a_leading_module() {
    let compressed = compress(&small(), CompressOptions::default());
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    let prefixed = |n: usize| {
        let tensors = small().tensors().to_vec();
        let tensors = tensors.into_iter().enumerate().map(|(index, mut info)| {
            if index < n {
                info.name = format!("module.{}", info.name);
            }
            (info, small().bytes(index).unwrap().into_owned())
        });
        checkpoint(tensors.collect())
    };
    for n in 0..=3 {
        let report = verify::compare(&reader, &prefixed(n), &Silent).unwrap();
        assert!(report.same_layout && report.missing.is_empty(), "{n} prefixed");
        assert_eq!((report.n_renamed, report.tensors.len()), (n, 3));
        assert_close(
            report.squared_error,
            compressed.report.squared_error,
            "squared error",
        );
    }
}

#[test]
fn metadata_and_files_beside_the_weights_are_compared() {
    use tersor_codec::{Blob, Shard};
    let with = |metadata: &[(&str, &str)], blobs: &[(&str, &str)]| {
        let tensors = vec![f32s("w", &[60, 50], &bell(1, 3000, 0.1))];
        let shard = Shard {
            file_name: "model.safetensors".into(),
            metadata: metadata
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        };
        let blob = |&(path, text): &(&str, &str)| Blob {
            path: path.into(),
            bytes: text.into(),
        };
        Checkpoint::from_tensors(tensors, vec![shard], blobs.iter().map(blob).collect()).unwrap()
    };
    let original = with(
        &[("format", "pt"), ("seed", "1"), ("step", "7")],
        &[("config.json", "{}"), ("LICENSE", "free")],
    );
    let compressed = compress(&original, CompressOptions::default());
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    let beside = |original: &Checkpoint| verify::compare(&reader, original, &Silent).unwrap();
    let same = beside(&original);
    assert_eq!((same.metadata.n_same, same.blobs.n_same), (3, 2));
    assert!(same.has_all() && same.metadata.unexpected.is_empty() && same.blobs.unexpected.is_empty());

    let other = beside(&with(
        &[("step", "8"), ("epoch", "1")],
        &[("config.json", "[]"), ("vocab.txt", "")],
    ));
    assert_eq!(other.metadata.differing, ["step"]);
    assert_eq!(other.metadata.missing, ["epoch"]);
    assert_eq!(other.metadata.unexpected, ["seed"], "`format` is no content");
    assert_eq!(other.blobs.differing, ["config.json"]);
    assert_eq!(other.blobs.missing, ["vocab.txt"]);
    assert_eq!(other.blobs.unexpected, ["LICENSE"]);
    assert!(other.same_layout && !other.has_all());
    // A checkpoint without room for either, such as npz, has nothing that the file lacks.
    assert!(beside(&with(&[], &[])).has_all());
}

#[test]
fn codebooks_may_have_more_levels_than_occur() {
    let values: Vec<f32> = (0..4096)
        .map(|i| if i == 0 { 8.0 } else { (i % 5) as f32 * 0.1 })
        .collect();
    let original = checkpoint(vec![f32s("w", &[64, 64], &values)]);
    let options = options(Method::Uniform, Scope::Tensor).with_target(Target::Step(0.1));
    let compressed = compress(&original, options);
    let tensor = &compressed.report.tensors[0];
    // 0 to 8 in tenths, of which five and the last occur.
    assert_eq!((tensor.levels, tensor.levels_used), (Some(81), Some(6)));
    let reader = FileReader::new(&compressed.bytes, Limits::NONE).unwrap();
    let inspected = inspect::inspect(&reader, compressed.bytes.len() as u64);
    assert_eq!(
        inspected.tensors[0].levels,
        Some(81),
        "the same word for the same"
    );
}

#[test]
fn settings_out_of_range_are_refused_with_their_value() {
    for power in [-0.1, 1.5, f64::NAN] {
        let mut options = CompressOptions::default();
        options.power = power;
        let message = refusal(&small(), options);
        assert!(message.contains(&format!("is {power}")), "{message}");
    }
    for floor in [-0.1, f64::INFINITY, f64::NAN] {
        let mut options = CompressOptions::default();
        options.floor = floor;
        let message = refusal(&small(), options);
        assert!(message.contains(&format!("is {floor}")), "{message}");
    }
    let mut options = CompressOptions::default();
    options.sensitivity = Some("no such file".into());
    assert!(matches!(
        try_compress(&small(), options),
        Err(Error::Checkpoint(_))
    ));
}

#[test]
fn errors_are_reported_after_rounding_to_the_element_type() {
    use tersor_codec::Dtype;
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F8E4m3, Dtype::F8E5m2] {
        let original = checkpoint(vec![typed("w", dtype, &[64, 64], &bell(9, 4096, 1.0))]);
        let options = CompressOptions::default().with_target(Target::Bpw(4.0));
        let compressed = compress(&original, options);
        let found = squared_error(&original, &decode(&compressed.bytes), "w");
        assert_close(reported_error(&compressed, "w"), found, dtype.name());
    }
}
