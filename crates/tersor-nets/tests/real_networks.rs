//! Published networks on real data, if `TERSOR_DATA` names the folder that holds them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests may fail a test and say what they saw"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;
use tersor::Silent;
use tersor::checkpoint::Checkpoint;
use tersor_nets::Subset;
use tersor_nets::evaluate::{EvaluateOptions, Evaluation, evaluate};
use tersor_nets::examples::Examples;
use tersor_nets::experiments::{ExperimentTask, check_files, check_table1};
use tersor_nets::graph::Network;
use tersor_nets::models::LlamaConfig;
use tersor_nets::task::{DataOptions, open_data};
use tersor_nets::{Parameters, models, open_device};

fn data() -> Option<PathBuf> {
    let found = std::env::var_os("TERSOR_DATA").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: TERSOR_DATA is not set");
    }
    found
}

fn score(network: &Network, weights: &Path, examples: &dyn Examples, batch: usize) -> Evaluation {
    let checkpoint = Checkpoint::open(weights).unwrap();
    let parameters = Parameters::load(network, &checkpoint).unwrap();
    let device = open_device("cpu").unwrap();
    let start = Instant::now();
    let options = EvaluateOptions {
        batch,
        ..EvaluateOptions::default()
    };
    let scores = evaluate(network, &parameters, examples, &device, &options, &Silent).unwrap();
    let summary = scores.summary();
    eprintln!("{}: {summary:?} in {:?}", network.name, start.elapsed());
    summary
}

/// The first `n` test examples of a set.
fn first(
    network: &Network,
    path: &Path,
    options: &DataOptions<'_>,
    n: usize,
) -> (Box<dyn Examples>, Vec<usize>) {
    let test = open_data(network, path.to_str().unwrap(), options).unwrap().test;
    let n = n.min(test.len());
    (test, (0..n).collect())
}

#[test]
fn resnet32_has_its_published_accuracy() {
    let Some(folder) = data() else { return };
    let network = models::resnet(32);
    assert_eq!(network.n_trainable(), 464_154);
    let (examples, indices) = first(
        &network,
        &folder.join("cifar10"),
        &DataOptions::default(),
        usize::MAX,
    );
    let test = Subset {
        examples: examples.as_ref(),
        indices,
    };
    let summary = score(
        &network,
        &folder.join("weights/resnet32-cifar10.safetensors"),
        &test,
        100,
    );
    // One image of 10,000 may fall to the other side where sums of floats are added in another order.
    assert!((summary.accuracy - 0.9263).abs() < 1.5e-4, "{}", summary.accuracy);
}

/// Top-1 of an independent implementation on all 650 images: `bench/nets/reference.py`, in PyTorch.
const SQUEEZENET_RIGHT: f64 = 479.0;

#[test]
fn squeezenet_agrees_with_an_independent_implementation() {
    let Some(folder) = data() else { return };
    let network = models::squeezenet1_1();
    assert_eq!(network.n_trainable(), 1_235_496);
    let (examples, indices) = first(
        &network,
        &folder.join("imagenet650"),
        &DataOptions::default(),
        usize::MAX,
    );
    let test = Subset {
        examples: examples.as_ref(),
        indices,
    };
    let summary = score(
        &network,
        &folder.join("weights/squeezenet1_1-imagenet.safetensors"),
        &test,
        10,
    );
    let right = summary.accuracy * summary.n as f64;
    assert!((right - SQUEEZENET_RIGHT).abs() <= 1.01, "{right}");
}

/// The sizes of stories260K, whose rotary pairs are interleaved.
const STORIES: &str = include_str!("../../../bench/nets/stories260k.json");

#[test]
fn stories260k_has_its_loss() {
    let Some(folder) = data() else { return };
    let config: LlamaConfig = serde_json::from_str(STORIES).unwrap();
    let network = models::llama(&config).unwrap();
    assert_eq!(network.n_trainable(), 260_032);
    let tokenizer = folder.join("weights/stories260k-tok512.bin");
    let options = DataOptions {
        tokenizer: Some(&tokenizer),
        ..DataOptions::default()
    };
    let (examples, indices) = first(
        &network,
        &folder.join("text/tinystories-cased.txt"),
        &options,
        150,
    );
    let test = Subset {
        examples: examples.as_ref(),
        indices,
    };
    let summary = score(
        &network,
        &folder.join("weights/stories260k.safetensors"),
        &test,
        10,
    );
    assert!((summary.loss - 1.807).abs() < 0.001, "{}", summary.loss);
}

#[test]
fn files_of_lenet5_score_as_their_records_say() {
    let Some(folder) = data() else { return };
    let network = models::lenet5();
    let mnist = folder.join("mnist");
    let mnist = mnist.to_str().unwrap();
    let data = open_data(&network, mnist, &DataOptions::default()).unwrap();
    let device = open_device("cpu").unwrap();
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results");
    let table1 = results.join("table1-lenet5");
    let mut checked = check_table1(&network, mnist, &table1, &device, None, &Silent).unwrap();
    for name in ["frontier-lenet5", "no-data-lenet5"] {
        let task = ExperimentTask {
            network: &network,
            data: &data,
            device: &device,
            folder: &results.join(name),
            progress: &Silent,
        };
        checked.extend(check_files(&task, None).unwrap());
    }
    assert_eq!(checked.len(), 12 + 6 + 4);
    for file in &checked {
        assert!(file.is_same, "{file:?}");
    }
}
