//! `tersor net sensitivity`.

use super::{Task, check_output, open_weights};
use crate::Status;
use crate::args::Common;
use crate::args::net::{EstimatorArg, SensitivityArgs};
use crate::progress::Bar;
use tersor_nets::Parameters;
use tersor_nets::examples::Examples;
use tersor_nets::sensitivity::{
    AdamOptions, Diagonal, FisherOptions, GramOptions, HutchinsonOptions, Labels, Recorded, adam_moments,
    fisher, hutchinson, moments, second_order, write_sensitivities,
};

/// What a diagonal is called, its values, and the settings to be recorded with it.
type Measured = (&'static str, Diagonal, Vec<(String, String)>);

/// Measures the diagonal that was asked for.
fn measure(
    args: &SensitivityArgs,
    task: &Task,
    examples: &dyn Examples,
    parameters: &Parameters,
    bar: &Bar,
) -> anyhow::Result<Measured> {
    let (network, device, samples, seed) = (&task.network, &task.device, args.samples, args.seed);
    let batch = args.batch.unwrap_or(match args.estimator {
        EstimatorArg::Hessian | EstimatorArg::Hutchinson => 50,
        _ => 5,
    });
    let fisher_options = |labels| FisherOptions {
        samples,
        batch,
        temperature: args.temperature,
        labels,
        augment: args.augment != crate::args::net::AugmentArg::None,
        seed,
    };
    let mut settings = vec![
        ("batch".to_owned(), batch.to_string()),
        ("seed".to_owned(), seed.to_string()),
    ];
    let (estimator, diagonal) = match args.estimator {
        EstimatorArg::Fisher => {
            settings.push(("temperature".into(), args.temperature.to_string()));
            let options = fisher_options(Labels::Sampled);
            (
                "fisher",
                fisher(network, parameters, examples, device, &options, bar)?,
            )
        }
        EstimatorArg::Empirical => {
            let options = fisher_options(Labels::Data);
            (
                "empirical-fisher",
                fisher(network, parameters, examples, device, &options, bar)?,
            )
        }
        EstimatorArg::Hessian => {
            let h = second_order(network, parameters, examples, device, (samples, batch, seed), bar)?;
            ("hessian", h)
        }
        EstimatorArg::Hutchinson => {
            let options = HutchinsonOptions {
                samples,
                batch,
                probes: args.probes,
                seed,
                ..HutchinsonOptions::default()
            };
            settings.push(("probes".into(), args.probes.to_string()));
            (
                "hutchinson",
                hutchinson(network, parameters, examples, device, &options, bar)?,
            )
        }
        EstimatorArg::Adam | EstimatorArg::SqrtAdam => {
            let options = AdamOptions {
                samples,
                batch,
                beta2: 0.999,
                seed,
            };
            settings.push(("beta2".into(), options.beta2.to_string()));
            let mut v = adam_moments(network, parameters, examples, device, &options, bar)?;
            if args.estimator == EstimatorArg::Adam {
                ("adam", v)
            } else {
                v.iter_mut().flatten().for_each(|v| *v = v.sqrt());
                ("sqrt-adam", v)
            }
        }
    };
    Ok((estimator, diagonal, settings))
}

pub(crate) fn run(args: &SensitivityArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    let task = Task::open(&args.task, args.augment)?;
    let parameters = open_weights(&task.network, &args.weights)?;
    let examples = &args.examples.of(task.calibration())?;
    let bar = Bar::new(common.quiet);
    let (estimator, diagonal, settings) = measure(args, &task, examples, &parameters, &bar)?;
    let (network, device, samples) = (&task.network, &task.device, args.samples);
    let layers = if args.gram {
        let options = GramOptions {
            samples,
            batch: 50,
            seed: args.seed,
            output_gradients: true,
        };
        moments(network, &parameters, examples, device, &options, &bar)?
    } else {
        Vec::new()
    };
    let recorded = Recorded {
        estimator: estimator.into(),
        samples: samples.min(examples.len()),
        settings,
        ..Recorded::default()
    };
    let output = &args.output;
    write_sensitivities(
        &output.output,
        &network.parameters,
        &diagonal,
        &layers,
        &recorded,
        output.force,
    )?;
    Ok(Status::Done)
}
