//! `tersor net sensitivity`.

use super::{Task, check_output, open_weights};
use crate::Status;
use crate::args::Common;
use crate::args::net::{AugmentArg, EstimatorArg, SensitivityArgs};
use crate::progress::Bar;
use tersor_nets::examples::Examples;
use tersor_nets::sensitivity::{Estimate, Estimator, GramOptions, moments, write_sensitivities};

fn estimate(args: &SensitivityArgs) -> Estimate {
    let estimator = match args.estimator {
        EstimatorArg::Fisher => Estimator::Fisher {
            temperature: args.temperature,
        },
        EstimatorArg::Empirical => Estimator::EmpiricalFisher,
        EstimatorArg::Hessian => Estimator::Hessian,
        EstimatorArg::Hutchinson => Estimator::Hutchinson { probes: args.probes },
        EstimatorArg::Adam => Estimator::Adam,
        EstimatorArg::SqrtAdam => Estimator::SqrtAdam,
    };
    Estimate {
        estimator,
        samples: args.samples,
        batch: args.batch.unwrap_or(estimator.batch()),
        augment: args.augment != AugmentArg::None,
        seed: args.seed,
    }
}

pub(crate) fn run(args: &SensitivityArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    let task = Task::open(&args.task, args.augment)?;
    let parameters = open_weights(&task.network, &args.weights)?;
    let examples = &args.examples.of(task.calibration())?;
    let bar = Bar::new(common.quiet);
    let (network, device) = (&task.network, &task.device);
    let estimate = estimate(args);
    let diagonal = estimate.measure(network, &parameters, examples, device, &bar)?;
    let layers = if args.gram {
        let options = GramOptions {
            samples: args.samples,
            batch: 50,
            seed: args.seed,
            output_gradients: true,
        };
        moments(network, &parameters, examples, device, &options, &bar)?
    } else {
        Vec::new()
    };
    let output = &args.output;
    write_sensitivities(
        &output.output,
        &network.parameters,
        &diagonal,
        &layers,
        &estimate.recorded(examples.len()),
        output.force,
    )?;
    Ok(Status::Done)
}
