//! What will be done with each tensor, and why: decided before anything is quantized.

mod survey;
mod treatment;
mod weigh;

pub use treatment::{Reason, Treatment};
pub use weigh::SensitivitySource;

use crate::checkpoint::Checkpoint;
use crate::feedback::Given;
use crate::options::{CompressOptions, Rule};
use crate::progress::Progress;
use crate::scales::{RowScales, ScaledRows};
use crate::sensitivity::Sensitivities;
use crate::{Error, Result, weights};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use survey::{Survey, survey};
use tersor_codec::{MAX_AXES, TensorInfo};
use tersor_quant::Span;
use treatment::{treatment, treatment_of_given};

/// One tensor's part of a plan.
#[derive(Clone, Debug)]
pub struct TensorPlan {
    /// What is done with it.
    pub treatment: Treatment,
    /// Where its sensitivities come from, if it is quantized.
    pub sensitivity: SensitivitySource,
    /// Mean sensitivity, aliases included; for [`SensitivitySource::Relative`] times the mean of w^2.
    pub mean_h: f64,
    /// Mean of w^2.
    pub mean_square: f64,
    /// Range of the elements: what a grid needs to know of them.
    pub(crate) span: Span,
    /// Scales for its rows, if they are wanted and worth their bits.
    pub(crate) scaled: Option<Arc<ScaledRows>>,
    /// What was asked for this tensor alone.
    pub rule: Rule,
    /// Later tensors that equal this one.
    pub aliases: Vec<usize>,
}

impl TensorPlan {
    /// Sensitivity times w^2: what an element stakes, on average.
    pub(crate) fn stake(&self) -> f64 {
        match self.sensitivity {
            SensitivitySource::Relative => self.mean_h,
            SensitivitySource::File | SensitivitySource::Default => self.mean_h * self.mean_square,
        }
    }

    /// Scales of its rows, where [`row_scales`](CompressOptions::row_scales) asks for them and they are worth their bits.
    pub fn row_scales(&self) -> Option<&RowScales> {
        self.scaled.as_deref().map(|scaled| &scaled.scales)
    }

    /// Mean sensitivity to errors of its rows over their scales, if it has some; otherwise `mean_h`.
    pub fn mean_scaled_h(&self) -> f64 {
        self.scaled.as_deref().map_or(self.mean_h, |scaled| scaled.mean_h)
    }

    /// Whether all elements are greater than 0.
    pub fn positive(&self) -> bool {
        self.span.min > 0.0
    }

    /// The one sensitivity of all elements where each has not its own.
    pub(crate) fn constant_h(&self) -> f64 {
        match self.sensitivity {
            SensitivitySource::Relative => self.mean_h / self.mean_square.max(f64::MIN_POSITIVE),
            SensitivitySource::File | SensitivitySource::Default => self.mean_h,
        }
    }
}

/// What will be done with a checkpoint.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One per tensor of the checkpoint.
    pub tensors: Vec<TensorPlan>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Decides what is done with every tensor.
    ///
    /// # Errors
    /// If the checkpoint cannot be read, a tensor has more axes than a file can hold, or a pattern matches nothing.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        options: &CompressOptions,
        sensitivities: Option<&Sensitivities>,
        given: &Given,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let tensors = checkpoint.tensors();
        if let Some(info) = tensors.iter().find(|t| t.shape.len() as u64 > MAX_AXES) {
            return Err(Error::Options(format!(
                "tensor {:?} has {} axes; at most {MAX_AXES} can be stored",
                info.name,
                info.shape.len()
            )));
        }
        for glob in options
            .keep
            .iter()
            .chain(options.overrides.iter().map(|o| &o.glob))
        {
            if !tensors.iter().any(|t| glob.is_match(&t.name)) {
                let pattern = glob.glob();
                return Err(Error::Options(format!(
                    "pattern '{pattern}' matches no tensor; `inspect` lists the names"
                )));
            }
        }
        progress.start("survey", tensors.iter().filter_map(TensorInfo::size_bytes).sum());
        let surveys: Result<Vec<Survey>> = tensors
            .par_iter()
            .enumerate()
            .map(|(index, info)| {
                let survey = survey(checkpoint, index, info);
                progress.advance(info.size_bytes().unwrap_or(0));
                survey
            })
            .collect();
        let surveys = surveys?;
        progress.finish();
        let mut plan = Self {
            tensors: Vec::with_capacity(tensors.len()),
            warnings: Vec::new(),
        };
        for (index, (info, survey)) in tensors.iter().zip(&surveys).enumerate() {
            let rule = options.overrides.iter().rfind(|o| o.glob.is_match(&info.name));
            plan.tensors.push(TensorPlan {
                treatment: if given.has(checkpoint.alias_of(index).unwrap_or(index)) {
                    treatment_of_given(info, survey, options)?
                } else {
                    treatment(info, survey, options)
                },
                sensitivity: SensitivitySource::Default,
                mean_h: 1.0,
                mean_square: survey.mean_square,
                span: survey.span,
                scaled: None,
                rule: rule.map_or_else(Rule::default, |o| o.rule),
                aliases: Vec::new(),
            });
        }
        plan.find_aliases(checkpoint, &surveys, given)?;
        if sensitivities.is_none() && !options.alike && given.iter().next().is_none() {
            plan.weigh_by_size(tensors);
        }
        plan.weigh(tensors, sensitivities)?;
        plan.scale_rows(checkpoint, sensitivities, (options, given))?;
        Ok(plan)
    }

    /// Finds scales for rows of tensors that the file covers, if they are wanted; those that symbols are given with stay.
    fn scale_rows(
        &mut self,
        checkpoint: &Checkpoint,
        sensitivities: Option<&Sensitivities>,
        (options, given): (&CompressOptions, &Given),
    ) -> Result<()> {
        let tensors = checkpoint.tensors();
        let scales = |(index, info): (usize, &TensorInfo)| -> Result<Option<_>> {
            let Some(plan) = self.tensors.get(index) else {
                return Ok(None);
            };
            if let Some(layer) = given.get(index) {
                let Some(scales) = layer.scales.clone() else {
                    return Ok(None);
                };
                let weights = weights::load(checkpoint, index)?;
                return Ok(Some(ScaledRows::new(scales, &weights, plan.mean_h)));
            }
            if !options.row_scales || plan.treatment != Treatment::Main {
                return Ok(None);
            }
            let Some(h) = self.load_h(tensors, sensitivities, index)? else {
                return Ok(None);
            };
            let Some(scales) = h.row_scales(info) else {
                return Ok(None);
            };
            let mean_h = h.scaled(&scales).mean();
            let weights = weights::load(checkpoint, index)?;
            Ok(Some(ScaledRows::new(scales, &weights, mean_h)))
        };
        let found: Result<Vec<_>> = tensors.par_iter().enumerate().map(scales).collect();
        for (plan, scaled) in self.tensors.iter_mut().zip(found?) {
            plan.scaled = scaled.map(Arc::new);
        }
        Ok(())
    }

    /// Finds tensors that are tied or hold the same bytes and are treated alike. A tensor whose symbols are given is the same only
    /// as those tied to it.
    fn find_aliases(&mut self, checkpoint: &Checkpoint, surveys: &[Survey], given: &Given) -> Result<()> {
        let tensors = checkpoint.tensors();
        let mut seen: HashMap<_, usize> = HashMap::new();
        for (index, (info, survey)) in tensors.iter().zip(surveys).enumerate() {
            let Some(plan) = self.tensors.get(index) else {
                continue;
            };
            if matches!(
                plan.treatment,
                Treatment::Constant(_) | Treatment::Raw(Reason::Empty)
            ) {
                continue;
            }
            let key = (
                survey.hash,
                info.dtype,
                &info.shape,
                matches!(plan.treatment, Treatment::Raw(_)),
                plan.rule.to_string(),
                Some(checkpoint.alias_of(index).unwrap_or(index)).filter(|&storage| given.has(storage)),
            );
            let first = *seen.entry(key).or_insert(index);
            if first != index
                && (checkpoint.alias_of(index) == Some(first)
                    || checkpoint.bytes(first)? == checkpoint.bytes(index)?)
            {
                if let Some(plan) = self.tensors.get_mut(index) {
                    plan.treatment = Treatment::Alias(first);
                }
                if let Some(plan) = self.tensors.get_mut(first) {
                    plan.aliases.push(index);
                }
            }
        }
        Ok(())
    }
}
