//! `tersor net`: networks trained, measured and changed.

mod canon;
mod compress;
mod evaluate;
mod finetune;
mod fold;
mod prune;
mod repair;
mod reproduce;
mod sensitivity;
mod shrink;
mod train;

use crate::Status;
use crate::args::Common;
use crate::args::net::{
    AugmentArg, InputsArg, MatchArg, NetCommand, OptimizerArg, OutputArgs, RepairArg, StepArgs, TaskArgs,
    TrainingArgs,
};
use crate::progress::Bar;
use anyhow::{Context as _, bail};
use std::path::Path;
use tersor::checkpoint::Checkpoint;
use tersor::codec::{Coder, EncodeOptions, FileReader, Limits, MAGIC, QuantizedCheckpoint};
use tersor_data::Augment;
use tersor_nets::examples::{Examples, Mixed};
use tersor_nets::graph::Network;
use tersor_nets::sequential::Inputs;
use tersor_nets::shared::{Match, to_parameters};
use tersor_nets::task::{DataOptions, DataSets, open_data};
use tersor_nets::train::{Distillation, EpochReport, Optimizer, Schedule, Teacher, TrainOptions};
use tersor_nets::{Device, Parameters, open_device};

/// Runs a verb.
pub(crate) fn run(command: &NetCommand, common: &Common) -> anyhow::Result<Status> {
    match command {
        NetCommand::Train(args) => train::run(args, common),
        NetCommand::Evaluate(args) => evaluate::run(args, common),
        NetCommand::Sensitivity(args) => sensitivity::run(args, common),
        NetCommand::Prune(args) => prune::run(args, common),
        NetCommand::Compress(args) => compress::run(args, common),
        NetCommand::Shrink(args) => shrink::run(args, common),
        NetCommand::Finetune(args) => finetune::run(args, common),
        NetCommand::Repair(args) => repair::run(args, common),
        NetCommand::Fold(args) => fold::run(args),
        NetCommand::Canon(args) => canon::run(args, common),
        NetCommand::Reproduce(args) => reproduce::run(args, common),
    }
}

/// A network with its data.
struct Task {
    network: Network,
    data: DataSets,
    device: Device,
}

impl Task {
    fn open(args: &TaskArgs, augment: impl Into<Augment>) -> anyhow::Result<Self> {
        let network = tersor_nets::task::network(&args.net)?;
        let options = DataOptions {
            augment: augment.into(),
            tokenizer: args.tokenizer.as_deref(),
        };
        let data = open_data(&network, &args.data, &options)?;
        let device = open_device(&args.device)?;
        Ok(Self {
            network,
            data,
            device,
        })
    }

    /// What is trained on; an error if there is nothing.
    fn train(&self) -> anyhow::Result<&dyn Examples> {
        if self.data.train.is_empty() {
            bail!("this data set has nothing to train on");
        }
        Ok(self.data.train.as_ref())
    }

    /// What statistics are gathered on: training examples, or test examples if there are none.
    fn calibration(&self) -> &dyn Examples {
        if self.data.train.is_empty() {
            self.data.test.as_ref()
        } else {
            self.data.train.as_ref()
        }
    }
}

impl From<AugmentArg> for Augment {
    fn from(arg: AugmentArg) -> Self {
        match arg {
            AugmentArg::None => Self::None,
            AugmentArg::Affine => Self::affine(),
            AugmentArg::Elastic => Self::elastic(),
            AugmentArg::CropFlip => Self::crop_flip(),
        }
    }
}

impl From<MatchArg> for Match {
    fn from(arg: MatchArg) -> Self {
        match arg {
            MatchArg::Mean => Self::Mean,
            MatchArg::Moments => Self::Moments,
            MatchArg::LeastSquares => Self::LeastSquares,
        }
    }
}

impl From<InputsArg> for Inputs {
    fn from(arg: InputsArg) -> Self {
        match arg {
            InputsArg::Original => Self::Original,
            InputsArg::Quantized => Self::Quantized,
            InputsArg::Corrected => Self::Corrected,
        }
    }
}

impl From<RepairArg> for Option<Match> {
    fn from(arg: RepairArg) -> Self {
        match arg {
            RepairArg::None => None,
            RepairArg::Mean => Some(Match::Mean),
            RepairArg::Moments => Some(Match::Moments),
            RepairArg::LeastSquares => Some(Match::LeastSquares),
        }
    }
}

/// Whether a file is a .tersor file.
fn is_compressed(path: &Path) -> bool {
    let mut head = [0; MAGIC.len()];
    std::fs::File::open(path).is_ok_and(|mut f| std::io::Read::read_exact(&mut f, &mut head).is_ok())
        && head == MAGIC
}

/// Symbols of a .tersor file, and how to encode them as they were: with the coder of its largest group.
fn open_quantized(path: &Path) -> anyhow::Result<(QuantizedCheckpoint, EncodeOptions)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = || -> tersor::codec::Result<_> {
        let reader = FileReader::new(&bytes, Limits::default())?;
        let groups = reader
            .directory()
            .groups
            .iter()
            .filter(|g| g.coder != Coder::Deflate);
        let largest = groups.max_by_key(|g| g.segments.iter().map(|s| s.len).sum::<u64>());
        let coder = largest.map_or(Coder::Ans, |g| g.coder);
        let quantized = QuantizedCheckpoint::decode(&bytes, Limits::default())?;
        Ok((quantized, EncodeOptions::default().with_coder(coder)))
    };
    read().with_context(|| path.display().to_string())
}

/// Weights of a checkpoint or of a .tersor file.
fn open_weights(network: &Network, path: &Path) -> anyhow::Result<Parameters> {
    let parameters = if is_compressed(path) {
        to_parameters(network, &open_quantized(path)?.0)
    } else {
        let checkpoint = Checkpoint::open(path)?;
        Parameters::load(network, &checkpoint)
    };
    parameters.with_context(|| path.display().to_string())
}

/// An error if a file is there and may not be overwritten, or its folder is not: before the work, not after it.
fn check_output(output: &OutputArgs) -> anyhow::Result<()> {
    let path = &output.output;
    if path.exists() && !output.force {
        bail!("{} exists; give -f to overwrite it", path.display());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            bail!("there is no folder {}", parent.display())
        }
        _ => Ok(()),
    }
}

fn save(parameters: &Parameters, output: &OutputArgs) -> anyhow::Result<()> {
    let checkpoint = parameters.to_checkpoint()?;
    let format = tersor::checkpoint::OutputFormat::Safetensors;
    Ok(checkpoint.save(&output.output, format, output.force)?)
}

/// Training for some epochs, with a highest learning rate.
fn schedule(steps: &StepArgs, epochs: usize, rate: f64, optimizer: Optimizer) -> TrainOptions {
    TrainOptions {
        epochs,
        batch: steps.batch,
        seed: steps.seed,
        optimizer,
        schedule: Schedule::Cosine {
            peak: rate,
            warmup: 0.1,
            floor: 0.01,
        },
        batch_statistics: 1.0,
    }
}

fn train_options(args: &TrainingArgs) -> TrainOptions {
    let optimizer = match args.optimizer {
        OptimizerArg::Adam => Optimizer::ADAM,
        OptimizerArg::Sgd => Optimizer::Sgd {
            momentum: 0.9,
            weight_decay: 1e-4,
        },
    };
    TrainOptions {
        batch_statistics: args.batch_statistics,
        ..schedule(&args.steps, args.epochs, args.steps.rate, optimizer)
    }
}

/// Mixtures, if there are any, or the examples themselves.
fn trained_on<'a>(examples: &'a dyn Examples, mixed: Option<&'a Mixed<'_>>) -> &'a dyn Examples {
    match mixed {
        Some(mixed) => mixed,
        None => examples,
    }
}

/// The network that is begun with as a teacher, if it is to be one.
fn teacher(steps: &StepArgs, start: &Parameters, device: &Device) -> anyhow::Result<Option<Teacher>> {
    let features = steps.features;
    let how = |temperature| Distillation {
        temperature,
        features,
    };
    let new = |temperature| teacher_at(how(temperature), start, device);
    steps.distill.map(new).transpose()
}

/// A network as a teacher.
fn teacher_at(how: Distillation, parameters: &Parameters, device: &Device) -> anyhow::Result<Teacher> {
    let Distillation {
        temperature,
        features,
    } = how;
    if !(temperature > 0.0 && temperature.is_finite()) {
        bail!("--distill {temperature}: the temperature must be positive");
    }
    if !(features >= 0.0 && features.is_finite()) {
        bail!("--features {features}: the weight must be 0 or positive");
    }
    Ok(Teacher::new(parameters, how, device))
}

/// Bytes of a file of a size, bits per weight, or the paper's ratio.
fn target_bytes(
    network: &Network,
    size: Option<u64>,
    bpw: Option<f64>,
    ratio: Option<f64>,
) -> anyhow::Result<Option<u64>> {
    let n_elements: f64 = network.parameters.iter().map(|p| p.len() as f64).sum();
    let bytes = size
        .map(|n| n as f64)
        .or(bpw.map(|bpw| bpw * n_elements / 8.0))
        .or(ratio.map(|ratio| network.float_bytes() / ratio));
    if let Some(bytes) = bytes.filter(|b| !(*b >= 1.0 && b.is_finite())) {
        bail!("the target is {bytes} bytes; it must be at least 1");
    }
    Ok(bytes.map(|bytes| bytes as u64))
}

/// Tells of an epoch of a part.
fn say_epoch(part: &str, report: &EpochReport, bar: &Bar) {
    bar.println(&format!(
        "{part}epoch {:3}  loss {:.4}  accuracy {:.2} %",
        report.epoch,
        report.loss,
        100.0 * report.accuracy
    ));
}
