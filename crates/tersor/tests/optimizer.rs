//! Sensitivities from optimizers: the fixtures of `fixtures/make_pytorch.py`, whose moments are worked by hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first failure, in its helpers too"
)]

mod support;

use std::path::{Path, PathBuf};
use support::{checkpoint, f32s};
use tersor::checkpoint::{Checkpoint, TrainingCheckpoint};
use tersor::optimizer::{OptimizerSensitivities, sensitivities};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn open(name: &str) -> TrainingCheckpoint {
    TrainingCheckpoint::open(&fixture(name)).unwrap()
}

fn message<T: std::fmt::Debug>(result: Result<T, impl std::fmt::Display>) -> String {
    result.map_err(|e| e.to_string()).unwrap_err()
}

/// Names and values.
fn values(found: &OptimizerSensitivities) -> Vec<(&str, Vec<f32>)> {
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let tensor = |(info, bytes): &'_ (_, Vec<u8>)| -> Vec<f32> {
        let _: &tersor_codec::TensorInfo = info;
        bytes.chunks(4).map(value).collect()
    };
    found
        .tensors
        .iter()
        .map(|t| (t.0.name.as_str(), tensor(t)))
        .collect()
}

/// A model whose tensors are not in the order of their names.
fn model() -> Checkpoint {
    checkpoint(vec![
        f32s("a.weight", &[2, 2], &[1.0; 4]),
        f32s("a.bias", &[2], &[1.0; 2]),
        f32s("head.bias", &[3], &[1.0; 3]),
    ])
}

/// v / (1 - 0.5^2).
fn expected() -> [Vec<f32>; 2] {
    [vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 0.0]]
}

#[test]
fn weights_beside_the_optimizer_give_names_and_the_bias_is_removed() {
    let found = sensitivities(&open("training.pt"), None, false).unwrap();
    let [weight, bias] = expected();
    assert_eq!(
        values(&found),
        [("module.a.weight", weight), ("module.a.bias", bias)]
    );
    assert_eq!(found.tensors[0].0.shape, [2, 2]);
    assert_eq!(found.left_out, ["parameter 2"], "it was never stepped");
    let recorded = found.recorded;
    assert_eq!(
        (
            recorded.estimator.as_str(),
            recorded.unit.as_str(),
            recorded.samples
        ),
        ("optimizer", "loss", 0)
    );
    assert!(recorded.settings.contains(&("steps".into(), "2".into())));
}

#[test]
fn a_model_gives_its_names_and_roots_are_roots() {
    let found = sensitivities(&open("training.pt"), Some(&model()), true).unwrap();
    let roots = expected().map(|v| v.iter().map(|v| v.sqrt()).collect::<Vec<_>>());
    let [weight, bias] = roots;
    assert_eq!(values(&found), [("a.weight", weight), ("a.bias", bias)]);
    assert_eq!(found.recorded.estimator, "sqrt-optimizer");
}

#[test]
fn an_optimizer_alone_needs_a_model_or_names() {
    let alone = open("optimizer.pt");
    assert!(alone.weights.is_none());
    let refused = message(sensitivities(&alone, None, false));
    assert!(refused.contains("--model"), "{refused}");
    let [weight, bias] = expected();
    let both = [("a.weight", weight), ("a.bias", bias)];
    assert_eq!(
        values(&sensitivities(&alone, Some(&model()), false).unwrap()),
        both
    );
    assert_eq!(
        values(&sensitivities(&open("optimizer_named.pt"), None, false).unwrap()),
        both
    );
    let gathered = sensitivities(&open("optimizer_gathered.pt"), None, false).unwrap();
    assert_eq!(values(&gathered), both[..1]);
}

#[test]
fn a_model_in_the_order_of_names_is_refused_where_shapes_repeat() {
    let alone = open("optimizer.pt");
    let sorted = checkpoint(vec![
        f32s("a.bias", &[2], &[1.0; 2]),
        f32s("a.weight", &[2, 2], &[1.0; 4]),
        f32s("b.bias", &[2], &[1.0; 2]),
    ]);
    let refused = message(sensitivities(&alone, Some(&sorted), false));
    assert!(refused.contains("\"a.bias\" or \"b.bias\""), "{refused}");
    let unique = checkpoint(vec![
        f32s("a.bias", &[2], &[1.0; 2]),
        f32s("a.weight", &[2, 2], &[1.0; 4]),
    ]);
    assert_eq!(
        sensitivities(&alone, Some(&unique), false).unwrap().tensors.len(),
        2
    );
}

#[test]
fn a_model_of_other_shapes_is_refused() {
    let other = checkpoint(vec![
        f32s("z", &[2, 3], &[1.0; 6]),
        f32s("a.bias", &[2], &[1.0; 2]),
        f32s("head.bias", &[3], &[1.0; 3]),
    ]);
    let refused = message(sensitivities(&open("optimizer.pt"), Some(&other), false));
    assert!(
        refused.contains("parameter 0 of shape [2, 2]") && refused.contains("\"z\""),
        "{refused}"
    );
    // Weights beside the optimizer know the names: what the model lacks is left out, what differs is refused.
    let found = sensitivities(&open("training.pt"), Some(&other), false).unwrap();
    assert_eq!(found.left_out, ["parameter 2", "module.a.weight"]);
    let other = checkpoint(vec![f32s("a.weight", &[4], &[1.0; 4])]);
    let refused = message(sensitivities(&open("training.pt"), Some(&other), false));
    assert!(
        refused.contains("\"module.a.weight\" have shape [2, 2]"),
        "{refused}"
    );
}

#[test]
fn square_averages_are_taken_as_they_are() {
    let one = checkpoint(vec![f32s("w", &[2], &[1.0; 2])]);
    let found = sensitivities(&open("optimizer_rmsprop.pt"), Some(&one), false).unwrap();
    assert_eq!(values(&found), [("w", vec![1.0, 4.0])]);
}

#[test]
fn what_holds_no_second_moments_says_what_does() {
    let refused = message(sensitivities(&open("optimizer_sgd.pt"), None, false));
    assert!(refused.contains("no second moments"), "{refused}");
    let refused = message(TrainingCheckpoint::open(&fixture("plain.pt")));
    assert!(refused.contains("optimizer.state_dict()"), "{refused}");
    let refused = message(TrainingCheckpoint::open(&fixture("optimizer_two.pt")));
    assert!(
        refused.contains("[\"discriminator\"], [\"generator\"]"),
        "{refused}"
    );
    assert!(TrainingCheckpoint::open(&fixture("stored.npz")).is_err());
}

#[test]
fn states_of_optimizers_are_never_taken_for_weights() {
    // Gathered states are dicts of tensors by name, whatever the key that leads to them.
    let error = Checkpoint::open(&fixture("optimizer_gathered.pt")).unwrap_err();
    assert!(error.to_string().contains("no state dict"), "{error}");
}

#[test]
fn damage_gives_an_error_or_sensitivities_but_no_panic() {
    for name in ["training.pt", "optimizer.pt", "optimizer_named.pt"] {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(training) = TrainingCheckpoint::from_bytes(bytes.clone(), name) {
                let _ = sensitivities(&training, None, false);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
