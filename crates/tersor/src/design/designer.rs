//! Everything a design depends on but the operating point, and what that says of each tensor.

use super::steps::{SMALL, short, within};
use super::{DEFAULT_LEVELS, Knob, LARGEST_H, Loaded, Part};
use crate::checkpoint::Checkpoint;
use crate::feedback::{self, Given, LayerMoments};
use crate::inputs;
use crate::options::{CompressOptions, Feedback, Method, Rule, Scope};
use crate::plan::{Plan, TensorPlan, Treatment};
use crate::progress::Progress;
use crate::samples::Samples;
use crate::scales::{RowScales, ScaledRows};
use crate::sensitivity::Sensitivities;
use crate::{Error, Result, weights};
use std::borrow::Cow;
use tersor_codec::{Coder, Dtype, TensorInfo};
use tersor_quant::{Balance, Span, grid};

/// Levels that error feedback may use are below so many times the largest magnitude: four beyond the weights, at steps of up to
/// four times that magnitude.
const FEEDBACK_REACH: f32 = 20.0;

/// Everything a design depends on but the operating point.
pub(crate) struct Designer<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) plan: &'a Plan,
    pub(crate) sensitivities: Option<&'a Sensitivities>,
    pub(crate) options: &'a CompressOptions,
    /// Tensors whose symbols come from outside.
    pub(crate) given: &'a Given,
    /// Told of elements that are designed for and encoded.
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Designer<'a> {
    pub(crate) fn tensors(&self) -> &'a [TensorInfo] {
        self.checkpoint.tensors()
    }

    pub(crate) fn name(&self, index: usize) -> &'a str {
        self.tensors().get(index).map_or("", |t| &t.name)
    }

    /// Loads a tensor.
    pub(crate) fn load(&self, index: usize) -> Result<Loaded<'a>> {
        let weights = weights::load(self.checkpoint, index)?;
        let mut h = self.plan.load_h(self.tensors(), self.sensitivities, index)?;
        let weights = match self.scales(index) {
            Some(scales) => {
                h = h.map(|h| h.scaled(scales));
                Cow::Owned(scales.divided(&weights))
            }
            None => weights,
        };
        Ok(Loaded {
            weights,
            h,
            mean_h: self.constant_h(index),
            balance: self.balance(index),
        })
    }

    /// What a tensor is like whose rows have scales: one with a grid of its own, or given so.
    fn scaled(&self, index: usize) -> Option<&'a ScaledRows> {
        let plan = self.plan.tensors.get(index)?;
        let applies = self.given.has(index) || self.has_own_grid(plan);
        plan.scaled.as_deref().filter(|_| applies)
    }

    /// Scales of the rows of a tensor, if it has some.
    pub(crate) fn scales(&self, index: usize) -> Option<&'a RowScales> {
        self.scaled(index).map(|scaled| &scaled.scales)
    }

    /// The one sensitivity of all elements, as they are quantized, where each has not its own.
    fn constant_h(&self, index: usize) -> f64 {
        let plan = self.plan.tensors.get(index).map_or(1.0, TensorPlan::constant_h);
        self.scaled(index).map_or(plan, |scaled| scaled.mean_h)
    }

    /// Whether a tensor gets a grid, and shares it with no other.
    fn has_own_grid(&self, plan: &TensorPlan) -> bool {
        let own = self.options.scope == Scope::Tensor || plan.rule != Rule::default();
        own && plan.rule.method.unwrap_or(self.options.method) == Method::Grid
    }

    /// How errors of a tensor add up, if they are to balance: what is assumed of its inputs.
    fn balance(&self, index: usize) -> Option<Balance> {
        let shape = &self.tensors().get(index)?.shape;
        if !self.is_balanced(index) {
            return None;
        }
        inputs::assumed(shape)
    }

    /// Whether errors of a tensor are to balance: kernels, three or more dimensions, without moments.
    pub(crate) fn is_balanced(&self, index: usize) -> bool {
        let is_main = |plan: &TensorPlan| plan.treatment == Treatment::Main;
        self.options.feedback == Feedback::Auto
            && self.plan.tensors.get(index).is_some_and(is_main)
            && self
                .tensors()
                .get(index)
                .is_some_and(|t| inputs::is_kernel(&t.shape))
            && self.with_moments(index).is_none()
    }

    /// Indices of the tensors treated so whose symbols are not given.
    pub(crate) fn treated(&self, treatment: &Treatment) -> Vec<usize> {
        let tensors = self.plan.tensors.iter().enumerate();
        tensors
            .filter(|&(i, p)| p.treatment == *treatment && !self.given.has(i))
            .map(|(i, _)| i)
            .collect()
    }

    /// What was asked for a tensor alone.
    pub(super) fn rule(&self, index: usize) -> Rule {
        self.plan
            .tensors
            .get(index)
            .map_or_else(Rule::default, |p| p.rule)
    }

    /// The method of a tensor and what sets its rate.
    pub(super) fn method_and_knob(&self, index: usize, knob: Knob) -> Result<(Method, Knob)> {
        let rule = self.rule(index);
        let method = rule.method.unwrap_or(self.options.method);
        let knob = match knob {
            Knob::Levels(k) if method.is_clustering() => Knob::Levels(rule.levels.unwrap_or(k)),
            _ if method.is_clustering() => Knob::Levels(rule.levels.unwrap_or(DEFAULT_LEVELS)),
            Knob::Slope(slope) => Knob::Slope(rule.slope(slope)),
            other => rule.slope.map_or(other, Knob::Slope),
        };
        if let (false, Knob::Levels(_)) = (method.is_clustering(), knob) {
            return Err(Error::Options(format!(
                "tensor {:?} with method {method} needs a slope of its own (sS) where the others have a number of levels",
                self.name(index)
            )));
        }
        Ok((method, knob))
    }

    /// Mean sensitivity over elements of all tensors of two or more dimensions.
    pub(super) fn mean_h(&self) -> f64 {
        let main = self
            .plan
            .tensors
            .iter()
            .zip(self.tensors())
            .filter(|(p, _)| p.treatment == Treatment::Main);
        let (sum, n) = main.fold((0.0, 0.0), |(sum, n), (plan, info)| {
            let own = info.n_elements().unwrap_or(0) as f64;
            (sum + own * plan.mean_h, n + own)
        });
        sum / f64::max(n, 1.0)
    }

    /// What slopes are measured by: sensitivity times w^2 of the tensors of two or more dimensions, or, where there are
    /// none, of one. The least, the median over elements and the greatest; not the mean, which one large buffer would set.
    pub(crate) fn stakes(&self) -> (f64, f64, f64) {
        let mut stakes: Vec<(f64, u64)> = [Treatment::Main, Treatment::Fine]
            .iter()
            .map(|treatment| self.stakes_of(treatment))
            .find(|stakes| !stakes.is_empty())
            .unwrap_or_default();
        stakes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let half = stakes.iter().map(|s| s.1).sum::<u64>() / 2;
        let mut below = 0;
        let median = stakes.iter().find(|s| {
            below += s.1;
            below > half
        });
        let stake =
            |found: Option<&(f64, u64)>| found.map_or(f64::MIN_POSITIVE, |s| s.0.max(f64::MIN_POSITIVE));
        (stake(stakes.first()), stake(median), stake(stakes.last()))
    }

    /// Sensitivity times w^2, where it is positive, and number of elements, of each tensor treated so.
    fn stakes_of(&self, treatment: &Treatment) -> Vec<(f64, u64)> {
        let tensors = self
            .plan
            .tensors
            .iter()
            .zip(self.tensors())
            .filter(|(p, _)| p.treatment == *treatment);
        let stake = tensors.map(|(plan, info)| (plan.stake(), info.n_elements().unwrap_or(0)));
        stake.filter(|s| s.0 > 0.0).collect()
    }

    /// The step of a tensor with a codebook of its own.
    pub(crate) fn step(&self, index: usize, slope: f64) -> f32 {
        let mean_h = self.constant_h(index).min(LARGEST_H);
        let n = self
            .tensors()
            .get(index)
            .and_then(TensorInfo::n_elements)
            .unwrap_or(0);
        let span = self.span(index);
        if self.uses_feedback(index) {
            return feedback::step(span, n, slope, mean_h);
        }
        let step = within(span, grid::step_for_slope(slope, mean_h));
        // Rounding a step changes a large tensor's size by more than two bytes, and makes sizes jump.
        if n < SMALL { short(step) } else { step }
    }

    /// The slope of a tensor on a grid, if it has one.
    pub(crate) fn slope(&self, index: usize, knob: Knob) -> Result<Option<f64>> {
        Ok(match self.method_and_knob(index, knob)? {
            (Method::Grid, Knob::Slope(slope)) => Some(slope),
            _ => None,
        })
    }

    /// Whether a tensor is quantized with error feedback: it has moments, and a grid of its own.
    pub(crate) fn uses_feedback(&self, index: usize) -> bool {
        let Some(plan) = self.plan.tensors.get(index) else {
            return false;
        };
        let magnitude = self.scaled(index);
        let magnitude = magnitude.map_or(plan.span.magnitude(), ScaledRows::magnitude);
        let dtype = self.tensors().get(index).map_or(Dtype::U8, |t| t.dtype);
        self.options.feedback == Feedback::Auto
            && plan.treatment == Treatment::Main
            && !self.given.has(index)
            && self.has_own_grid(plan)
            && feedback::rounded(FEEDBACK_REACH * magnitude, dtype).is_finite()
            && self.with_moments(index).is_some()
    }

    /// Whether the symbols of a tensor are found before the file is encoded, whose coder is this, or the smallest, which is taken for
    /// `context`: with error feedback, or on a trellis.
    pub(crate) fn is_chosen_ahead(&self, index: usize, coder: Option<Coder>) -> bool {
        let on_trellis = |plan: &TensorPlan| {
            self.options.trellis
                && matches!(coder, None | Some(Coder::Context))
                && plan.treatment == Treatment::Main
                && !self.given.has(index)
                && self.has_own_grid(plan)
        };
        self.uses_feedback(index) || self.plan.tensors.get(index).is_some_and(on_trellis)
    }

    /// The name under which the moments of a tensor are: its own, or that of a later one that equals it.
    fn with_moments(&self, index: usize) -> Option<(&'a Sensitivities, usize)> {
        let (file, plan) = (self.sensitivities?, self.plan.tensors.get(index)?);
        let mut names = std::iter::once(&index).chain(&plan.aliases);
        names
            .find(|&&index| file.moments.has(index))
            .map(|&index| (file, index))
    }

    /// Reads the moments of a tensor, if it has some.
    pub(crate) fn moments(&self, index: usize) -> Result<Option<LayerMoments<'a>>> {
        let found = self.with_moments(index);
        found.map(|(file, index)| file.load_moments(index)).transpose()
    }

    /// Range of the weights of a tensor as they are quantized.
    pub(crate) fn span(&self, index: usize) -> Span {
        let plan = self.plan.tensors.get(index).map_or(Span::EMPTY, |p| p.span);
        self.scaled(index).map_or(plan, |scaled| scaled.span)
    }

    /// A tensor, or its sample if there is one.
    pub(crate) fn part<'s>(&self, index: usize, samples: Option<&'s Samples>) -> Result<Part<'a, 's>> {
        Ok(match samples.and_then(|s| s.get(index)) {
            Some(sampled) => Part::Sample(sampled),
            None => Part::Whole(self.load(index)?),
        })
    }
}
