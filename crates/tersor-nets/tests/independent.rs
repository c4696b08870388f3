//! Models against independent implementations in PyTorch, on parameters that a formula makes (`fixtures/`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

use serde_json::Value as Json;
use tersor_nets::examples::{Batch, BatchInput};
use tersor_nets::gradient::logits;
use tersor_nets::graph::{Network, Weights};
use tersor_nets::{Parameters, models, open_device};

fn fixture(name: &str) -> Json {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The formula of `fixtures/formula.py`: element i of tensor k, in -1..1.
fn hashed(k: u32, i: u32) -> f64 {
    let mut x = i
        .wrapping_mul(0x9E37_79B9)
        .wrapping_add(k.wrapping_mul(0x85EB_CA6B));
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^= x >> 16;
    f64::from(x) / 2_147_483_648.0 - 1.0
}

fn tensor(recipe: &Json) -> Vec<f32> {
    let n: u64 = recipe["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_u64().unwrap())
        .product();
    let number = |key: &str| recipe[key].as_f64().unwrap();
    let (k, amplitude, offset) = (number("k") as u32, number("amplitude"), number("offset"));
    let is_absolute = recipe["absolute"].as_bool().unwrap();
    (0..n as u32)
        .map(|i| {
            let u = hashed(k, i);
            (offset + amplitude * if is_absolute { u.abs() } else { u }) as f32
        })
        .collect()
}

fn parameters(network: &Network, fixture: &Json) -> Parameters {
    let mut parameters = Parameters::random(network, 0);
    let recipes = fixture["parameters"].as_array().unwrap();
    let specs = parameters.specs().to_vec();
    for (i, spec) in specs.iter().enumerate() {
        let recipe = recipes.iter().find(|r| r["name"] == spec.name.as_str()).unwrap();
        let shape: Vec<usize> = serde_json::from_value(recipe["shape"].clone()).unwrap();
        assert_eq!(shape, spec.shape, "{}", spec.name);
        parameters.values_mut(i).copy_from_slice(&tensor(recipe));
    }
    parameters
}

fn run(network: &Network, parameters: &Parameters, input: BatchInput) -> Vec<f32> {
    let weights = Weights::new(parameters, &open_device("cpu").unwrap(), false);
    let batch = Batch {
        input,
        labels: Vec::new(),
    };
    logits(network, &weights, &batch).unwrap().values
}

/// Agreement up to `tolerance` of the largest logit: sums of thousands of f32 in another order.
fn assert_close(have: &[f32], want: &Json, tolerance: f64) {
    let want: Vec<f64> = want
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|v| v.as_f64().unwrap())
        .collect();
    assert_eq!(have.len(), want.len());
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (h, w)) in have.iter().zip(&want).enumerate() {
        assert!(
            (f64::from(*h) - w).abs() < tolerance * largest,
            "logit {i}: {h} {w}"
        );
    }
}

fn image(fixture: &Json) -> BatchInput {
    let input = &fixture["input"];
    let shape: Vec<usize> = serde_json::from_value(input["shape"].clone()).unwrap();
    BatchInput::Images(tensor(input), shape.try_into().unwrap())
}

#[test]
fn alexnet_agrees_with_torchvision() {
    let fixture = fixture("alexnet");
    let network = models::alexnet();
    assert_eq!(network.n_trainable(), 61_100_840);
    let have = run(&network, &parameters(&network, &fixture), image(&fixture));
    assert_close(&have, &fixture["logits"], 1e-4);
}

#[test]
fn resnet20_agrees_with_pytorch() {
    let fixture = fixture("resnet20");
    let network = models::resnet(20);
    let have = run(&network, &parameters(&network, &fixture), image(&fixture));
    assert_close(&have, &fixture["logits"], 1e-4);
}

#[test]
fn llama_agrees_with_hugging_face_in_both_rotary_layouts() {
    let fixture = fixture("llama");
    let tokens: Vec<i32> = serde_json::from_value(fixture["tokens"].clone()).unwrap();
    for (interleaved, tied, key) in [
        (false, false, "logits_halves"),
        (true, false, "logits_interleaved"),
        (false, true, "logits_tied"),
    ] {
        let mut config = fixture["config"].clone();
        config["rope_interleaved"] = interleaved.into();
        config["tie_word_embeddings"] = tied.into();
        let network = models::llama(&serde_json::from_value(config).unwrap()).unwrap();
        let input = BatchInput::Tokens {
            ids: tokens.clone(),
            shape: [1, tokens.len()],
            lengths: vec![tokens.len()],
        };
        let have = run(&network, &parameters(&network, &fixture), input);
        assert_close(&have, &fixture[key], 1e-4);
    }
}
