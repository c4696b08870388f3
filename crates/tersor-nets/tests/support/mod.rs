//! A network small enough for finite differences, with every kind of layer of an image network, and data for it.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod lenet;
pub(crate) mod small;

use tersor_data::{Augment, Images, Normalize, Random};
use tersor_nets::examples::{ImageExamples, TokenExamples};
use tersor_nets::graph::{Builder, Conv, Input, Linear, Network, Pool, Role};
use tersor_nets::{Parameters, models};

pub(crate) const CLASSES: usize = 3;

fn conv(inputs: usize, outputs: usize, stride: usize, bias: bool) -> Conv {
    Conv {
        inputs,
        outputs,
        kernel: 3,
        stride,
        padding: 1,
        bias,
    }
}

/// Two convolutions with batch-norm, a residual sum, a shortcut, pooling, a concatenation and two linear layers.
pub(crate) fn tiny() -> Network {
    let mut b = Builder::new("tiny", Input::Image([1, 8, 8]));
    let x = b.conv("conv1", 0, conv(1, 2, 1, true));
    let x = b.batch_norm("bn1", x, 2);
    let x = b.relu(x);
    let y = b.conv("conv2", x, conv(2, 4, 2, false));
    let y = b.batch_norm("bn2", y, 4);
    let s = b.shortcut(x, 4);
    let x = b.add(y, s);
    let x = b.relu(x);
    let pool = Pool {
        kernel: 3,
        stride: 2,
        ceil: true,
    };
    let x = b.max_pool(x, pool);
    let y = b.average_pool(x, 1);
    let y = b.flatten(y);
    let x = b.flatten(x);
    let linear = |inputs, outputs| Linear {
        inputs,
        outputs,
        bias: true,
    };
    let x = b.linear("fc1", x, linear(16, 4));
    let x = b.add(x, y);
    let x = b.relu(x);
    b.linear("fc2", x, linear(4, CLASSES));
    b.finish()
}

/// Random weights, and statistics that are not 0 and 1.
pub(crate) fn tiny_parameters(network: &Network, seed: u64) -> Parameters {
    let mut parameters = Parameters::random(network, seed);
    let mut random = Random::keyed(&[seed, 77]);
    for (spec, values) in parameters.iter_mut() {
        for v in values.iter_mut() {
            match spec.role {
                Role::Scale | Role::RunningVariance => *v = random.between(0.5, 1.5),
                Role::Bias | Role::Shift | Role::RunningMean => *v = random.symmetric(0.3),
                _ => {}
            }
        }
    }
    parameters
}

/// Random images whose class is where they are bright.
pub(crate) fn tiny_examples(n: usize, seed: u64) -> ImageExamples {
    let mut random = Random::keyed(&[seed, 78]);
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for _ in 0..n {
        let label = random.below(CLASSES);
        labels.push(label as u16);
        for i in 0..64 {
            let is_bright = (i % 8) / 3 == label;
            let base = if is_bright { 150.0 } else { 40.0 };
            pixels.push((base + 60.0 * random.uniform()) as u8);
        }
    }
    ImageExamples {
        images: Images::new([1, 8, 8], pixels, labels, CLASSES),
        normalize: Normalize::unit(),
        augment: Augment::None,
    }
}

/// A decoder of texts with one block.
pub(crate) fn tiny_decoder() -> Network {
    let config = r#"{"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 11, "max_position_embeddings": 512}"#;
    models::llama(&serde_json::from_str(config).unwrap()).unwrap()
}

/// Texts of these lengths.
pub(crate) fn tiny_texts(lengths: &[u32]) -> TokenExamples {
    let text = |&n: &u32| (0..n).map(|i| (i * i + n) % 11).collect();
    TokenExamples {
        sequences: lengths.iter().map(text).collect(),
    }
}
