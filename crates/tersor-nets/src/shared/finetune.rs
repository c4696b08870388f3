//! Fine-tuning of shared values (paper, section 3): the gradient of a level is the sum of the gradients of its members.

use super::{tensor_of, to_parameters};
use crate::examples::Examples;
use crate::gradient::backward;
use crate::graph::{Mode, Network, Role, Unobserved, Weights};
use crate::train::{EpochReport, Lessons, Marks, Schedule, Teacher};
use crate::{Error, Result};
use burn::tensor::Device;
use half::f16;
use serde::{Deserialize, Serialize};
use tersor::Progress;
use tersor_codec::{Codebook, QuantizedCheckpoint, TensorData};
use tersor_data::{Batches, Key};

/// How to fine-tune.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneOptions {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples per step.
    pub batch: usize,
    /// Adam's learning rate over time: of levels as it is, of steps and scales relative to their size.
    pub schedule: Schedule,
    /// Of order and augmentation.
    pub seed: u64,
}

/// What one learned number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knob {
    /// A level of a table.
    Level(usize, usize),
    /// The step of a grid, all levels times a factor.
    Step(usize),
}

/// Adam on a few numbers.
struct Adam {
    moments: Vec<(f64, f64)>,
    steps: i32,
}

impl Adam {
    /// The direction of a step for each gradient, of size about 1.
    fn directions(&mut self, gradients: &[f64]) -> Vec<f64> {
        self.steps += 1;
        let (bias1, bias2) = (1.0 - 0.9f64.powi(self.steps), 1.0 - 0.999f64.powi(self.steps));
        let update = |(moment, g): (&mut (f64, f64), &f64)| {
            moment.0 = 0.9 * moment.0 + 0.1 * g;
            moment.1 = 0.999 * moment.1 + 0.001 * g * g;
            (moment.0 / bias1) / ((moment.1 / bias2).sqrt() + 1e-12)
        };
        self.moments.iter_mut().zip(gradients).map(update).collect()
    }
}

/// A matrix of the network and where its symbols are.
struct Member {
    parameter: usize,
    tensor: usize,
    codebook: usize,
}

/// The matrices and kernels that are quantized without scales of their own.
fn members(network: &Network, quantized: &QuantizedCheckpoint) -> Vec<Member> {
    let member = |(parameter, spec): (usize, &crate::graph::ParameterSpec)| {
        let tensor = tensor_of(quantized, &spec.name)?;
        let is_matrix = matches!(spec.role, Role::Weight | Role::Embedding);
        match &quantized.tensors.get(tensor)?.data {
            TensorData::Quantized { codebook, .. } if is_matrix => Some(Member {
                parameter,
                tensor,
                codebook: *codebook,
            }),
            _ => None,
        }
    };
    network.parameters.iter().enumerate().filter_map(member).collect()
}

/// Everything that is learned: levels other than zero, and steps.
fn knobs(quantized: &QuantizedCheckpoint, members: &[Member]) -> Vec<Knob> {
    let mut used: Vec<usize> = members.iter().map(|m| m.codebook).collect();
    used.sort_unstable();
    used.dedup();
    // A codebook that also serves other tensors, biases for instance, stays.
    used.retain(|&c| {
        quantized.tensors.iter().enumerate().all(|(i, t)| match &t.data {
            TensorData::Quantized { codebook, .. } if *codebook == c => members.iter().any(|m| m.tensor == i),
            _ => true,
        })
    });
    let of = |c: usize| match quantized.codebooks.get(c) {
        Some(Codebook::Table(levels)) => {
            let moving = levels.iter().enumerate().filter(|(_, l)| **l != 0.0);
            moving.map(|(s, _)| Knob::Level(c, s)).collect()
        }
        Some(Codebook::Grid { .. }) => vec![Knob::Step(c)],
        _ => Vec::new(),
    };
    used.into_iter().flat_map(of).collect()
}

/// Gradients of all knobs from those of the parameters.
fn knob_gradients(
    quantized: &QuantizedCheckpoint,
    members: &[Member],
    knobs: &[Knob],
    gradients: &[Vec<f32>],
    values: &[Vec<f32>],
) -> Vec<f64> {
    // Per codebook: a sum for each level, and the sum of gradient x value.
    let mut by_level: Vec<Vec<f64>> = quantized
        .codebooks
        .iter()
        .map(|c| vec![0.0; c.n_levels()])
        .collect();
    let mut by_factor = vec![0.0; quantized.codebooks.len()];
    for member in members {
        let Some(TensorData::Quantized { symbols, scales, .. }) =
            quantized.tensors.get(member.tensor).map(|t| &t.data)
        else {
            continue;
        };
        let (Some(gradient), Some(values)) = (gradients.get(member.parameter), values.get(member.parameter))
        else {
            continue;
        };
        let factor = gradient
            .iter()
            .zip(values)
            .map(|(g, v)| f64::from(*g) * f64::from(*v));
        if let Some(sum) = by_factor.get_mut(member.codebook) {
            *sum += factor.sum::<f64>();
        }
        if let (Some(sums), None) = (by_level.get_mut(member.codebook), scales) {
            for (&s, &g) in symbols.iter().zip(gradient) {
                if let Some(sum) = sums.get_mut(usize::from(s)) {
                    *sum += f64::from(g);
                }
            }
        }
    }
    let of = |knob: &Knob| match *knob {
        Knob::Level(c, s) => by_level.get(c).and_then(|l| l.get(s)).copied(),
        Knob::Step(c) => by_factor.get(c).copied(),
    };
    knobs.iter().map(|k| of(k).unwrap_or(0.0)).collect()
}

/// Takes a step: of levels as they are, of steps relative to their size.
fn move_knob(quantized: &mut QuantizedCheckpoint, knob: Knob, by: f64) {
    match knob {
        Knob::Level(c, s) => {
            if let Some(Codebook::Table(levels)) = quantized.codebooks.get_mut(c)
                && let Some(level) = levels.get_mut(s)
            {
                *level -= by as f32;
            }
        }
        Knob::Step(c) => {
            if let Some(Codebook::Grid { step, .. }) = quantized.codebooks.get_mut(c) {
                *step *= (-by).exp() as f32;
            }
        }
    }
}

/// Rounds the levels of tables that were f16 to f16 again, which halves their cost in the file.
fn is_half(levels: &[f32]) -> bool {
    levels.iter().all(|&l| f16::from_f32(l).to_f32() == l)
}

/// Fine-tunes levels and steps of a quantized checkpoint's matrices and kernels in place; symbols stay, zeros stay zero,
/// and so do other tensors. With a teacher its answers are learned in place of labels. Batch-norm uses its running
/// statistics. Returns the mean loss of each epoch's batches.
///
/// # Errors
/// [`Error::Input`] if nothing is shared, [`Error::Diverged`] if the loss is no longer finite, and as
/// [`Network::forward`].
pub fn finetune(
    network: &Network,
    quantized: &mut QuantizedCheckpoint,
    examples: &dyn Examples,
    teacher: Option<&Teacher>,
    device: &Device,
    options: &FinetuneOptions,
    progress: &dyn Progress,
) -> Result<Vec<EpochReport>> {
    let members = members(network, quantized);
    let knobs = knobs(quantized, &members);
    if knobs.is_empty() {
        return Err(Error::Input(
            "nothing to fine-tune: no matrix of the file has levels of its own".into(),
        ));
    }
    let halves: Vec<bool> = quantized
        .codebooks
        .iter()
        .map(|c| matches!(c, Codebook::Table(levels) if is_half(levels)))
        .collect();
    let mut adam = Adam {
        moments: vec![(0.0, 0.0); knobs.len()],
        steps: 0,
    };
    let steps = examples.len().div_ceil(options.batch.max(1)).max(1);
    let total = (steps * options.epochs) as f64;
    let mut reports = Vec::new();
    progress.start("fine-tune shared values", total as u64);
    for epoch in 0..options.epochs {
        let (mut marks, mut rate, mut at) = (Marks::default(), 0.0, 0);
        let lessons = Lessons {
            network,
            examples,
            teacher,
            key: Key {
                seed: options.seed,
                epoch: epoch as u64,
            },
        };
        let batches = Batches::shuffled(examples.len(), options.batch, options.seed, epoch as u64);
        lessons.each(batches, |lesson| {
            rate = options.schedule.rate((epoch * steps + at) as f64 / total);
            at += 1;
            let parameters = to_parameters(network, quantized)?;
            let weights = Weights::new(&parameters, device, true);
            let gradients = backward(
                network,
                &weights,
                &lesson.batch,
                Mode::Evaluate,
                &mut lesson.watch(&mut Unobserved),
                |logits| Ok(lesson.mark(logits, &mut marks)),
            )?;
            if !marks.loss.is_finite() {
                return Err(Error::Diverged(format!(
                    "fine-tuning reached a loss of {}; lower the learning rate, now {rate:e}",
                    marks.loss
                )));
            }
            let values: Vec<Vec<f32>> = parameters.iter().map(|(_, v)| v.to_vec()).collect();
            let gradient = knob_gradients(quantized, &members, &knobs, &gradients, &values);
            for (knob, direction) in knobs.iter().zip(adam.directions(&gradient)) {
                move_knob(quantized, *knob, rate * direction);
            }
            progress.advance(1);
            Ok(())
        })?;
        reports.push(marks.report(epoch + 1, rate));
    }
    for (codebook, _) in quantized
        .codebooks
        .iter_mut()
        .zip(&halves)
        .filter(|(_, half)| **half)
    {
        if let Codebook::Table(levels) = codebook {
            for level in levels.iter_mut() {
                *level = f16::from_f32(*level).to_f32();
            }
        }
    }
    progress.finish();
    Ok(reports)
}
