//! `tersor net train`.

use super::{Task, check_output, open_weights, save, say_epoch, teacher, train_options, trained_on};
use crate::Status;
use crate::args::Common;
use crate::args::net::TrainArgs;
use crate::progress::Bar;
use tersor_nets::Parameters;
use tersor_nets::examples::Mixed;
use tersor_nets::graph::Network;
use tersor_nets::sensitivity::{Recorded, write_sensitivities};
use tersor_nets::train::{Free, OptimizerState, TrainingRun};

pub(crate) fn run(args: &TrainArgs, common: &Common) -> anyhow::Result<Status> {
    check_output(&args.output)?;
    anyhow::ensure!(
        args.training.steps.distill.is_none() || args.from.is_some(),
        "--distill learns from the network that is begun with; name it with --from"
    );
    let task = Task::open(&args.task, args.training.steps.augment)?;
    let start = match &args.from {
        Some(path) => open_weights(&task.network, path)?,
        None => Parameters::random(&task.network, args.training.steps.seed),
    };
    let bar = Bar::new(common.quiet);
    let options = train_options(&args.training);
    let examples = args.training.steps.examples.of(task.train()?)?;
    let mixed = args.training.steps.mix.then_some(Mixed { examples: &examples });
    let teacher = teacher(&args.training.steps, &start, &task.device)?;
    let run = TrainingRun {
        network: &task.network,
        examples: trained_on(&examples, mixed.as_ref()),
        device: &task.device,
        options: &options,
        teacher: teacher.as_ref(),
        path: args.training.resume.as_deref(),
    };
    let (parameters, state, _) = run.run(start, |_| Free, &bar, |report| say_epoch("", report, &bar))?;
    save(&parameters, &args.output)?;
    if let Some(path) = &args.training.sensitivity {
        write_moments(&task.network, &state, path, args.training.optimizer)?;
    }
    Ok(Status::Done)
}

/// Adam's second moments as a sensitivity file.
pub(super) fn write_moments(
    network: &Network,
    state: &OptimizerState,
    path: &std::path::Path,
    optimizer: crate::args::net::OptimizerArg,
) -> anyhow::Result<()> {
    if optimizer != crate::args::net::OptimizerArg::Adam {
        anyhow::bail!("only Adam keeps second moments; leave --sensitivity out or train with Adam");
    }
    let diagonal = state.mean_squares(&network.parameters);
    let recorded = Recorded {
        estimator: "adam".into(),
        settings: vec![
            ("steps".into(), state.steps.to_string()),
            ("beta2".into(), "0.999".into()),
        ],
        ..Recorded::default()
    };
    Ok(write_sensitivities(
        path,
        &network.parameters,
        &diagonal,
        &[],
        &recorded,
        true,
    )?)
}
