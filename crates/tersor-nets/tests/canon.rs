//! Canonical order: the function stays, and what it is for comes about.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail a test"
)]

mod support;

use support::small::small;
use tersor::Compressor;
use tersor::Silent;
use tersor::options::{CompressOptions, Target};
use tersor_codec::Coder;
use tersor_data::Random;
use tersor_nets::canon::canon;
use tersor_nets::examples::{Batch, BatchInput};
use tersor_nets::gradient::logits;
use tersor_nets::graph::{Builder, Input, Linear, Network, Role, Weights};
use tersor_nets::models::{lenet5, resnet, squeezenet1_1};
use tersor_nets::{Parameters, open_device};

/// Random weights of which one in `one_in` is left, more in some units than in others, and some units empty; biases and
/// statistics of no special value.
fn sparse(network: &Network, one_in: u32, seed: u64) -> Parameters {
    let mut parameters = Parameters::random(network, seed);
    let mut random = Random::new(seed + 1);
    for (spec, values) in parameters.iter_mut() {
        let row = (spec.len() / spec.shape.first().copied().unwrap_or(1).max(1)).max(1);
        for (i, w) in values.iter_mut().enumerate() {
            let unit = i / row;
            *w = match spec.role {
                Role::Weight if unit % 5 == 3 => 0.0,
                Role::Weight if random.uniform() * (one_in + unit as u32 % 7) as f32 > 1.0 => 0.0,
                Role::Weight => *w,
                Role::Bias | Role::Shift | Role::RunningMean => 0.1 * random.normal(),
                _ => 0.5 + random.uniform(),
            };
        }
    }
    parameters
}

fn batch(network: &Network) -> Batch {
    let mut random = Random::new(9);
    let Input::Image(shape) = network.input else {
        panic!("an image network");
    };
    let n = 2;
    let len = n * shape.iter().product::<usize>();
    Batch {
        input: BatchInput::Images(
            (0..len).map(|_| random.normal()).collect(),
            [n, shape[0], shape[1], shape[2]],
        ),
        labels: vec![0; n],
    }
}

fn output(network: &Network, parameters: &Parameters) -> Vec<f32> {
    let device = open_device("cpu").unwrap();
    let weights = Weights::new(parameters, &device, false);
    logits(network, &weights, &batch(network)).unwrap().values
}

#[test]
fn the_function_stays() {
    for (network, one_in) in [(lenet5(), 8), (small(), 3), (resnet(20), 3), (squeezenet1_1(), 2)] {
        let before = sparse(&network, one_in, 4);
        let mut after = before.clone();
        let done = canon(&network, &mut after);
        assert!(done.n_units > 0, "{}: {done:?}", network.name);
        assert!(before != after, "{} has changed", network.name);
        let (a, b) = (output(&network, &before), output(&network, &after));
        let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in a.iter().zip(&b) {
            assert!(
                (a - b).abs() <= 1e-4 * largest,
                "{}: {a} became {b}",
                network.name
            );
        }
        // It is its own fixed point.
        let mut again = after.clone();
        canon(&network, &mut again);
        assert!(again == after, "{}", network.name);
    }
}

#[test]
fn units_without_effect_are_emptied() {
    let network = lenet5();
    let mut parameters = sparse(&network, 8, 5);
    let index = |name: &str| network.parameter(name).unwrap();
    // Nothing reads the seventh hidden unit; the eighth is its bias, which goes on to the next layer.
    let fc2 = index("fc2.weight");
    (0..10).for_each(|r| parameters.values_mut(fc2)[500 * r + 7] = 0.0);
    parameters.values_mut(index("fc1.weight"))[800 * 8..800 * 9].fill(0.0);
    parameters.values_mut(index("fc1.bias"))[8] = 2.0;
    (0..10).for_each(|r| parameters.values_mut(fc2)[500 * r + 8] = 0.5);
    let before = output(&network, &parameters);
    let bias = parameters.values(index("fc2.bias")).to_vec();
    let done = canon(&network, &mut parameters);
    assert!(done.n_dead >= 2 && done.n_dropped > 10, "{done:?}");
    let moved = parameters.values(index("fc2.bias"));
    assert!(
        moved.iter().zip(&bias).all(|(a, b)| *a != *b),
        "2 x 0.5 and more moved"
    );
    let after = output(&network, &parameters);
    for (a, b) in before.iter().zip(&after) {
        assert!((a - b).abs() < 1e-4, "{a} became {b}");
    }
    // The fullest come first, the empty ones last.
    let rows: Vec<usize> = parameters
        .values(index("fc1.weight"))
        .chunks(800)
        .map(|row| row.iter().filter(|w| **w != 0.0).count())
        .collect();
    assert!(rows[0] > 0 && rows[499] == 0);
}

#[test]
fn a_unit_may_be_read_before_and_behind_a_rectifier() {
    let mut b = Builder::new("both", Input::Image([1, 2, 2]));
    let linear = |inputs, outputs| Linear {
        inputs,
        outputs,
        bias: true,
    };
    let x = b.flatten(0);
    let x = b.linear("hidden", x, linear(4, 3));
    let before = b.linear("before", x, linear(3, 2));
    let x = b.relu(x);
    let behind = b.linear("behind", x, linear(3, 2));
    b.add(before, behind);
    let network = b.finish();
    let mut parameters = sparse(&network, 1, 8);
    // The first unit is always its bias, which a rectifier takes away.
    parameters.values_mut(network.parameter("hidden.weight").unwrap())[..4].fill(0.0);
    parameters.values_mut(network.parameter("hidden.bias").unwrap())[0] = -1.5;
    let (a, done) = (output(&network, &parameters), canon(&network, &mut parameters));
    let b = output(&network, &parameters);
    assert!(done.n_units == 3 && done.n_dead >= 1, "{done:?}");
    assert!(
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5),
        "{a:?} became {b:?}"
    );
}

#[test]
fn sensitivities_move_with_their_weights() {
    let network = resnet(20);
    let mut parameters = sparse(&network, 4, 6);
    let mut marks: Vec<Vec<f32>> = parameters.iter().map(|(_, v)| v.to_vec()).collect();
    marks[3].clear();
    let before = parameters.clone();
    let done = canon(&network, &mut parameters);
    done.reorder(&network, &mut marks);
    assert!(parameters != before);
    for (i, (spec, values)) in parameters.iter().enumerate().filter(|(i, _)| *i != 3) {
        for (w, mark) in values.iter().zip(&marks[i]) {
            assert!(
                *w == *mark || *w == 0.0 || spec.role == Role::Bias,
                "{}",
                spec.name
            );
        }
    }
}

#[test]
fn sorted_weights_take_fewer_bytes_in_context() {
    let network = lenet5();
    let mut parameters = sparse(&network, 60, 7);
    let size = |parameters: &Parameters| {
        let checkpoint = parameters.to_checkpoint().unwrap();
        let options = CompressOptions::default().with_coder(Some(Coder::Context));
        let compressor = Compressor::new(&checkpoint, options).unwrap();
        compressor
            .compress(&Target::Slope(1e-4), &Silent)
            .unwrap()
            .bytes
            .len()
    };
    let before = size(&parameters);
    canon(&network, &mut parameters);
    let after = size(&parameters);
    assert!(after < before, "{after} bytes after {before}");
}
