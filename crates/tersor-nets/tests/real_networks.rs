//! Published networks on real data, if `TERSOR_DATA` names the folder that holds them.

use std::path::PathBuf;
use std::time::Instant;
use tersor::Silent;
use tersor::checkpoint::Checkpoint;
use tersor_data::{Augment, Normalize, cifar};
use tersor_nets::evaluate::{EvaluateOptions, evaluate};
use tersor_nets::examples::ImageExamples;
use tersor_nets::{Parameters, models, open_device};

fn data() -> Option<PathBuf> {
    let found = std::env::var_os("TERSOR_DATA").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: TERSOR_DATA is not set");
    }
    found
}

fn cifar10(folder: &std::path::Path) -> ImageExamples {
    ImageExamples {
        images: cifar::open(&folder.join("cifar10")).unwrap().test,
        normalize: Normalize::mean_std(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        augment: Augment::None,
    }
}

#[test]
fn resnet32_has_its_published_accuracy() {
    let Some(folder) = data() else { return };
    let network = models::resnet(32);
    let checkpoint = Checkpoint::open(&folder.join("weights/resnet32-cifar10.safetensors")).unwrap();
    let parameters = Parameters::load(&network, &checkpoint).unwrap();
    let device = open_device("cpu").unwrap();
    let start = Instant::now();
    let options = EvaluateOptions::default();
    let scores = evaluate(
        &network,
        &parameters,
        &cifar10(&folder),
        &device,
        &options,
        &Silent,
    )
    .unwrap();
    let summary = scores.summary();
    eprintln!("ResNet-32: {summary:?} in {:?}", start.elapsed());
    assert!((summary.accuracy - 0.9263).abs() < 1e-9, "{}", summary.accuracy);
}
