//! A small network with batch-norm, and generated digits to train it on.

use tersor::Silent;
use tersor_codec::{Limits, QuantizedCheckpoint};
use tersor_data::{Augment, Normalize, digits};
use tersor_nets::evaluate::{EvaluateOptions, Scores, evaluate};
use tersor_nets::examples::ImageExamples;
use tersor_nets::graph::{Builder, Conv, Input, Linear, Network};
use tersor_nets::shared::to_parameters;
use tersor_nets::train::{Free, Optimizer, Schedule, TrainOptions, TrainingRun};
use tersor_nets::{Device, Parameters, fold};

pub(crate) fn small() -> Network {
    let mut b = Builder::new("small", Input::Image([1, 28, 28]));
    let conv = |inputs, outputs| Conv {
        inputs,
        outputs,
        kernel: 3,
        stride: 2,
        padding: 1,
        bias: false,
    };
    let x = b.conv("conv1", 0, conv(1, 8));
    let x = b.batch_norm("bn1", x, 8);
    let x = b.relu(x);
    let x = b.conv("conv2", x, conv(8, 16));
    let x = b.batch_norm("bn2", x, 16);
    let x = b.relu(x);
    let x = b.flatten(x);
    let linear = |inputs, outputs| Linear {
        inputs,
        outputs,
        bias: true,
    };
    let x = b.linear("fc1", x, linear(16 * 7 * 7, 32));
    let x = b.relu(x);
    b.linear("fc2", x, linear(32, 10));
    b.finish()
}

pub(crate) fn examples(n: usize, seed: u64) -> ImageExamples {
    ImageExamples {
        images: digits::generate(n, seed),
        normalize: Normalize::unit(),
        augment: Augment::None,
    }
}

pub(crate) fn trained(network: &Network, device: &Device) -> Parameters {
    let options = TrainOptions {
        epochs: 8,
        batch: 50,
        seed: 1,
        optimizer: Optimizer::ADAM,
        schedule: Schedule::Cosine {
            peak: 3e-3,
            warmup: 0.1,
            floor: 0.05,
        },
        batch_statistics: 1.0,
    };
    let run = TrainingRun {
        network,
        examples: &examples(1500, 1),
        device,
        options: &options,
        teacher: None,
        path: None,
    };
    let start = Parameters::random(network, 5);
    let mut parameters = run.run(start, |_| Free, &Silent, |_| ()).unwrap().0;
    fold(network, &mut parameters).unwrap();
    parameters
}

pub(crate) fn scores(
    network: &Network,
    parameters: &Parameters,
    device: &Device,
    reference: Option<&Scores>,
) -> Scores {
    let options = EvaluateOptions {
        keep_logits: true,
        reference,
        ..EvaluateOptions::default()
    };
    evaluate(network, parameters, &examples(500, 7), device, &options, &Silent).unwrap()
}

/// The parameters in a file.
pub(crate) fn decoded(network: &Network, file: &[u8]) -> Parameters {
    let quantized = QuantizedCheckpoint::decode(file, Limits::default()).unwrap();
    to_parameters(network, &quantized).unwrap()
}
