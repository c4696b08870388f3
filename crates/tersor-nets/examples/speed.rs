//! Images per second of evaluation, training and sensitivities, model by model; see `bench/nets/pytorch.py` for PyTorch's.
//!
//! `cargo run --release -p tersor-nets --example speed -- lenet5 resnet32`

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Instant;
use tersor::Silent;
use tersor_data::{Augment, Images, Normalize};
use tersor_nets::evaluate::{EvaluateOptions, evaluate};
use tersor_nets::examples::{Examples, ImageExamples};
use tersor_nets::graph::Input;
use tersor_nets::sensitivity::{FisherOptions, fisher, second_order};
use tersor_nets::train::{Free, Optimizer, Schedule, TrainOptions, Trainer};
use tersor_nets::{Parameters, Result, models, open_device};

fn main() -> Result<()> {
    let device = open_device("cpu")?;
    for name in std::env::args().skip(1) {
        let network = models::image_network(&name)?;
        let Input::Image(shape) = network.input else {
            continue;
        };
        let n = if shape[1] > 100 { 20 } else { 1000 };
        let size: usize = shape.iter().product();
        let pixels = (0..n * size).map(|i| (i * 7919 % 251) as u8).collect();
        let labels = (0..n).map(|i| (i % 10) as u16).collect();
        let examples = ImageExamples {
            images: Images::new(shape, pixels, labels, 10),
            normalize: Normalize::unit(),
            augment: Augment::None,
        };
        let mut parameters = Parameters::random(&network, 1);
        let rate = |what: &str, started: Instant| {
            println!(
                "{name:14} {what:12} {:9.1} images/s",
                n as f64 / started.elapsed().as_secs_f64()
            );
        };
        let started = Instant::now();
        evaluate(
            &network,
            &parameters,
            &examples,
            &device,
            &EvaluateOptions::default(),
            &Silent,
        )?;
        rate("evaluate", started);
        let options = TrainOptions {
            epochs: 1,
            batch: 100.min(examples.len()),
            seed: 1,
            optimizer: Optimizer::ADAM,
            schedule: Schedule::Constant { rate: 1e-6 },
            batch_statistics: 1.0,
        };
        let started = Instant::now();
        Trainer::new(&network, &parameters, &examples, &device, &options).epoch(
            &mut parameters,
            &mut Free,
            &Silent,
        )?;
        rate("train", started);
        let started = Instant::now();
        fisher(
            &network,
            &parameters,
            &examples,
            &device,
            &FisherOptions::default(),
            &Silent,
        )?;
        rate("Fisher", started);
        let started = Instant::now();
        second_order(&network, &parameters, &examples, &device, (n, 50, 1), &Silent)?;
        rate("Hessian", started);
    }
    Ok(())
}
