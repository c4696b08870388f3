//! The loss of a file against its expansion: what the gradient, the diagonal and the whole Hessian say of it.

use super::Comparison;
use crate::evaluate::{EvaluateOptions, evaluate};
use crate::examples::Examples;
use crate::experiments::estimates::estimate_name;
use crate::experiments::files::ExperimentTask;
use crate::experiments::methods::read;
use crate::experiments::record::{Records, read_json, write_json};
use crate::experiments::split::first;
use crate::graph::{Input, ParameterSpec};
use crate::sensitivity::{along, read_sensitivities, root_mean_square, trained};
use crate::shared::to_parameters;
use crate::{Error, Parameters, Result, Selection};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Images, and pieces of text, that a loss and its derivatives are taken on.
const IMAGES: usize = 500;
const TEXTS: usize = 100;
const BATCH: usize = 50;
/// Step of differences, relative to the root mean square of the parameters.
const STEP: f64 = 1e-3;
/// Name of the report.
const REPORT: &str = "expansions.json";

/// The change of the mean loss from the original network to a file's, in nats, and the terms of its expansion at the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// The file.
    pub file: PathBuf,
    /// What it is made with.
    pub how: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// `seen`: among those that sensitivities were measured on; `unseen`: among those reported on.
    pub examples: String,
    /// g d, with d the error of the parameters.
    pub gradient: f64,
    /// sum `h_ii` `d_i`^2 / 2 for each estimate of h.
    pub diagonal: Vec<(String, f64)>,
    /// d^T H d / 2.
    pub quadratic: f64,
    /// What it is.
    pub change: f64,
}

/// Errors of a file's parameters; none for those that do not train.
fn errors(original: &Parameters, decoded: &Parameters) -> Vec<Vec<f32>> {
    let error = |((spec, w), (_, v)): ((&ParameterSpec, &[f32]), (_, &[f32]))| {
        if !spec.role.is_trainable() {
            return Vec::new();
        }
        w.iter().zip(v).map(|(w, v)| v - w).collect()
    };
    original.iter().zip(decoded.iter()).map(error).collect()
}

impl Comparison {
    /// Takes the loss of every file apart, on examples seen and unseen; those in the folder's report are not taken again.
    ///
    /// # Errors
    /// As measuring and reading files.
    pub fn expansions(&self, task: &ExperimentTask<'_>, records: &Records) -> Result<Vec<Expansion>> {
        let path = task.folder.join(REPORT);
        let mut done: Vec<Expansion> = if path.is_file() {
            read_json(&path)?
        } else {
            Vec::new()
        };
        let mut diagonals = Vec::new();
        for estimate in self.estimates() {
            let file = self.sensitivities(task, estimate, false)?;
            let h = read_sensitivities(&file, &task.network.parameters)?;
            diagonals.push((estimate_name(estimate), h));
        }
        let report = self.split.report.first().copied().unwrap_or("0..");
        let unseen = report.parse::<Selection>()?.of(task.data.test.as_ref())?;
        let n = match task.network.input {
            Input::Image(_) => IMAGES,
            Input::Tokens { .. } => TEXTS,
        };
        let sets = [("seen", self.split.some(task, n)?), ("unseen", first(&unseen, n))];
        for (name, examples) in &sets {
            let of_original = loss(task, &self.original, examples)?;
            for record in &records.records {
                let is_of = |e: &Expansion| e.file == record.file && e.examples == *name;
                let is_same = |e: &Expansion| {
                    let names = e.diagonal.iter().map(|(name, _)| name);
                    e.bytes == record.bytes && names.eq(diagonals.iter().map(|(name, _)| name))
                };
                if done.iter().any(|e| is_of(e) && is_same(e)) {
                    continue;
                }
                done.retain(|e| !is_of(e));
                let (quantized, bytes) = read(&task.folder.join(&record.file))?;
                let decoded = to_parameters(task.network, &quantized)?;
                let direction = errors(&self.original, &decoded);
                let size = root_mean_square(direction.iter().flatten());
                let scale = root_mean_square(trained(&self.original));
                let step = if size > 0.0 {
                    (STEP * scale / size) as f32
                } else {
                    1.0
                };
                let at = along(
                    task.network,
                    &self.original,
                    examples,
                    task.device,
                    (&direction, step),
                    BATCH,
                    task.progress,
                )?;
                let half = |h: &Vec<Vec<f32>>| {
                    let pairs = h.iter().zip(&direction).flat_map(|(h, d)| h.iter().zip(d));
                    pairs
                        .map(|(&h, &d)| 0.5 * f64::from(h) * f64::from(d) * f64::from(d))
                        .sum()
                };
                done.push(Expansion {
                    file: record.file.clone(),
                    how: record.how.clone(),
                    bytes,
                    examples: (*name).to_owned(),
                    gradient: at.slope,
                    diagonal: diagonals
                        .iter()
                        .map(|(name, h)| (name.clone(), half(h)))
                        .collect(),
                    quadratic: 0.5 * at.curvature,
                    change: loss(task, &decoded, examples)? - of_original,
                });
                write_json(&path, &done)?;
            }
        }
        Ok(done)
    }
}

/// Mean loss, nats.
fn loss(task: &ExperimentTask<'_>, parameters: &Parameters, examples: &dyn Examples) -> Result<f64> {
    let options = EvaluateOptions::default();
    let scores = evaluate(
        task.network,
        parameters,
        examples,
        task.device,
        &options,
        task.progress,
    )?;
    let loss = scores.summary().loss;
    if loss.is_finite() {
        return Ok(loss);
    }
    Err(Error::Diverged("the loss of a file is not finite".into()))
}
