//! Rounding in every step of a training, which learns through it.

use super::cells::{Layer, START};
use super::layers::{compress, fill, search};
use super::{Rounded, SHARE, ShrinkOptions, ShrinkTask, parameter, training};
use crate::examples::Batch;
use crate::graph::{Mode, Network};
use crate::sequential::{CLOSE, Passes, Quantized, SequentialOptions};
use crate::train::{Constraint, EpochReport, OptimizerState, TrainOptions};
use crate::{Parameters, Result};
use rayon::prelude::*;
use tersor::Compressor;
use tersor::feedback::{FeedbackConfig, LayerSymbols};
use tersor::options::CompressOptions;

/// Rounds weights after every step, and passes gradients on to what they would be otherwise.
struct Through {
    layers: Vec<Layer>,
    options: CompressOptions,
    /// What vectors and embeddings are quantized at.
    slope: f64,
    /// Bytes that files are to have.
    aim: u64,
}

impl Through {
    fn new(
        network: &Network,
        parameters: &Parameters,
        quantized: &Quantized,
        options: &CompressOptions,
        (slope, aim): (f64, u64),
    ) -> Result<Self> {
        let mut layers = Vec::new();
        for (name, rounded) in &quantized.symbols {
            let parameter = parameter(network, name)?;
            layers.push(Layer::new(parameter, name, parameters.values(parameter), rounded));
        }
        Ok(Self {
            layers,
            options: options.clone(),
            slope,
            aim,
        })
    }

    fn symbols(&self, parameters: &Parameters) -> Vec<(String, LayerSymbols)> {
        let of = |layer: &Layer| {
            let symbols = layer.symbols(parameters.values(layer.parameter));
            (layer.name.clone(), symbols)
        };
        self.layers.par_iter().map(of).collect()
    }

    /// Makes the cells of zero such that the file has its size.
    ///
    /// # Errors
    /// [`Error::Size`](crate::Error::Size) if none gives such a file.
    fn fit(&mut self, parameters: &Parameters) -> Result<()> {
        let checkpoint = parameters.to_checkpoint()?;
        let aim = self.aim as f64;
        let (start, ()) = search(START.into(), 1.0, |start| {
            self.set_start(start);
            let file = compress(&checkpoint, &self.symbols(parameters), &self.options, self.slope)?;
            Ok((file.len() as f64 / aim, ()))
        })?;
        self.set_start(start);
        Ok(())
    }

    fn set_start(&mut self, start: f64) {
        for layer in &mut self.layers {
            layer.set_start(start as f32);
        }
    }

    /// The weights that train.
    fn free(&self, parameters: &mut Parameters) {
        for layer in &self.layers {
            layer.free(parameters.values_mut(layer.parameter));
        }
    }
}

impl Constraint for Through {
    fn begin(&mut self, parameters: &mut Parameters) -> Result<()> {
        for layer in &mut self.layers {
            layer.set(parameters.values(layer.parameter));
        }
        self.fit(parameters)?;
        for layer in &self.layers {
            layer.rounded(parameters.values_mut(layer.parameter));
        }
        Ok(())
    }

    fn end(&mut self, parameters: &mut Parameters) {
        self.free(parameters);
    }

    fn parameters(&mut self, parameters: &mut Parameters, _: &OptimizerState, _: f64) {
        for layer in &mut self.layers {
            layer.moved(parameters.values_mut(layer.parameter));
        }
    }
}

/// Rounds all layers, as [`sequential`](crate::sequential) does without a trellis, and trains on with weights that are rounded in every step:
/// the gradient of a level is that of the weight behind it. Steps stay; how wide the cell of zero is follows from
/// the size of the whole file, before every pass anew.
///
/// # Errors
/// As [`Passes::within`] and training.
///
/// # Source
/// Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic neurons for conditional
/// computation", 2013.
pub(super) fn straight_through(
    task: &ShrinkTask<'_>,
    start: Parameters,
    options: &ShrinkOptions,
    batches: &[Batch],
    say: &mut impl FnMut(&str, &EpochReport),
) -> Result<Rounded> {
    let network = task.network;
    let aim = (options.bytes as f64 * SHARE) as u64;
    let compress = CompressOptions::default().with_coder(Some(options.coder));
    let default = SequentialOptions::default();
    let sequential = SequentialOptions {
        coder: options.coder,
        feedback: FeedbackConfig {
            trellis: false,
            ..default.feedback
        },
        ..default
    };
    let mut start = start;
    crate::fold(network, &mut start)?;
    let checkpoint = start.to_checkpoint()?;
    let passes = Passes {
        network,
        original: &start,
        plain: Compressor::new(&checkpoint, compress.clone())?,
        batches,
        device: task.device,
        options: &sequential,
        begun: (&Quantized::nothing(options.coder), 0),
        progress: task.progress,
    };
    let (slope, (found, _)) = passes.within((aim, CLOSE), None)?;
    let through = Through::new(network, &start, &found.quantized, &compress, (slope, aim))?;
    let mut kept = start.clone();
    through.free(&mut kept);
    let train = TrainOptions {
        mode: Mode::Evaluate,
        epochs: options.stage.epochs * options.n_stages.max(1),
        ..options.stage.clone()
    };
    let path = task.folder.join("through.training.safetensors");
    let run = training(task, &train, &path);
    let (mut parameters, _, mut through) =
        run.run(kept, |_| through, task.progress, |r| say("rounded", r))?;
    through.begin(&mut parameters)?;
    let symbols = through.symbols(&parameters);
    let checkpoint = parameters.to_checkpoint()?;
    let bytes = fill(&checkpoint, &symbols, &compress, slope, options.bytes)?;
    Ok(Rounded {
        parameters,
        bytes,
        slopes: vec![slope],
    })
}
