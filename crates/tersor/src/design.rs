//! Codebooks at one operating point: what each tensor will be coded with, and what that costs.

use crate::checkpoint::Checkpoint;
use crate::feedback::{self, Given, LayerMoments, LayerSymbols};
use crate::fine::{self, FineCodebooks};
use crate::inputs;
use crate::options::{Centres, CompressOptions, Feedback, Method, Rule, Scope};
use crate::plan::{Plan, TensorPlan, Treatment};
use crate::progress::Progress;
use crate::samples::{Sampled, Samples};
use crate::scales::{RowScales, ScaledRows};
use crate::search::near_lossless_slope;
use crate::sensitivity::{Sensitivities, TensorSensitivity};
use crate::{Error, Result, weights};
use half::f16;
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;
use tersor_codec::{Codebook, Coder, Dtype, TensorInfo};
use tersor_quant::{Balance, Report, Source, Span, StaticPrices, ecsq, grid, kmeans, uniform};

/// Iterations of prices and assignment on a grid.
pub(crate) const GRID_ITERATIONS: usize = 3;

/// What sets the rate of a method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Knob {
    /// Predicted loss per bit.
    Slope(f64),
    /// Number of levels of a clustering.
    Levels(usize),
    /// Step of uniform cells common to all tensors.
    Step(f32),
}

/// Elements below which two bytes of a step matter.
pub(crate) const SMALL: u64 = 1 << 13;

/// Levels of a clustering for a single tensor whose number is not given.
const DEFAULT_LEVELS: usize = 16;

/// Largest sensitivity that quantizers see: products with squared errors stay finite.
pub(crate) const LARGEST_H: f64 = 1e30;

/// Levels that error feedback may use are below so many times the largest magnitude: four beyond the weights, at steps of up to
/// four times that magnitude.
const FEEDBACK_REACH: f32 = 20.0;

/// How the elements of a tensor become symbols.
#[derive(Clone, Debug)]
pub(crate) enum Assigner {
    /// Rate-aware on a grid.
    Grid(grid::Grid, StaticPrices, f64),
    /// The cell that holds the element.
    Cells(uniform::Uniform),
    /// The nearest level; exact zeros to the reserved one.
    Nearest(Vec<f32>, Option<u16>),
    /// Rate-aware among free levels.
    Ecsq(ecsq::Ecsq, f64),
    /// Rounded to some mantissa bits.
    Mantissa { mantissa_bits: u32, first: u32 },
    /// Always the same symbol.
    Constant,
    /// Symbols that are known: given from outside, or found with error feedback.
    Symbols(Arc<LayerSymbols>),
}

/// A tensor's codebook and how it is used.
#[derive(Clone, Debug)]
pub(crate) struct Coding {
    /// Index in [`Design::codebooks`].
    pub(crate) codebook: usize,
    pub(crate) assigner: Assigner,
    /// Expected counts and loss; exact for all methods but grids, which may do slightly better, and choose other symbols in context.
    pub(crate) report: Report,
}

/// Codebooks of a whole checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Design {
    pub(crate) codebooks: Vec<Codebook>,
    /// One per tensor; `None` if it is not quantized.
    pub(crate) codings: Vec<Option<Coding>>,
    /// Slope in effect: given, or implied by the loss of a clustering.
    pub(crate) slope: f64,
}

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

/// Weights and sensitivities of one tensor as it is quantized, loaded.
pub(crate) struct Loaded<'a> {
    pub(crate) weights: Cow<'a, [f32]>,
    h: Option<TensorSensitivity<'a>>,
    /// Mean sensitivity; beyond the range of f32 for tensors of extreme magnitudes under relative precision.
    pub(crate) mean_h: f64,
    /// How its errors add up, if that is to be minded.
    balance: Option<Balance>,
}

impl Loaded<'_> {
    /// The tensor as a quantizer sees it.
    pub(crate) fn source(&self) -> Source<'_> {
        let source = match &self.h {
            Some(h) => h.source(&self.weights),
            None => Source::constant(&self.weights, self.mean_h.min(LARGEST_H) as f32),
        };
        match &self.balance {
            Some(balance) => source.balanced(balance),
            None => source,
        }
    }
}

/// What a design looks at of a tensor.
pub(crate) enum Part<'a, 's> {
    Whole(Loaded<'a>),
    Sample(&'s Sampled),
}

impl Part<'_, '_> {
    pub(crate) fn source(&self) -> Source<'_> {
        match self {
            Part::Whole(loaded) => loaded.source(),
            Part::Sample(sampled) => sampled.source(),
        }
    }

    /// A report of the part as that of the tensor.
    fn scaled(&self, report: Report) -> Report {
        match self {
            Part::Whole(_) => report,
            Part::Sample(sampled) => sampled.scaled(&report),
        }
    }
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
    fn rule(&self, index: usize) -> Rule {
        self.plan
            .tensors
            .get(index)
            .map_or_else(Rule::default, |p| p.rule)
    }

    /// The method of a tensor and what sets its rate.
    fn method_and_knob(&self, index: usize, knob: Knob) -> Result<(Method, Knob)> {
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
    fn mean_h(&self) -> f64 {
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

    /// Designs codebooks for all tensors. A design on samples is rough: its codebooks are not for use, and its counts and
    /// losses are scaled up from the samples.
    pub(crate) fn design(&self, knob: Knob, samples: Option<&Samples>) -> Result<Design> {
        let mut design = Design {
            codings: vec![None; self.tensors().len()],
            ..Design::default()
        };
        let main = self.treated(&Treatment::Main);
        // Tensors with rules of their own have their own codebooks.
        let (shared, own): (Vec<usize>, Vec<usize>) = main
            .iter()
            .partition(|&&index| self.options.scope == Scope::Global && self.rule(index) == Rule::default());
        let single = |&index: &usize| {
            let found = self.single(index, knob, samples)?;
            // Samples are looked at between two pieces of work.
            if samples.is_none() {
                self.progress.advance(found.1.n);
            }
            Ok((index, found))
        };
        let mut codings = own.par_iter().map(single).collect::<Result<Vec<_>>>()?;
        if !shared.is_empty() {
            codings.extend(shared.iter().copied().zip(self.global(&shared, knob, samples)?));
            if samples.is_none() {
                let n = codings.iter().rev().take(shared.len()).map(|c| c.1.1.n);
                self.progress.advance(n.sum());
            }
        }
        design.slope = match knob {
            Knob::Slope(slope) => slope,
            Knob::Levels(_) | Knob::Step(_) if main.is_empty() => near_lossless_slope(self),
            // Loss falls by a factor of 4 per bit and weight: dD/dR = 2 ln 2 D / n.
            Knob::Levels(_) | Knob::Step(_) => {
                let (loss, n) = codings.iter().fold((0.0, 0u64), |(d, n), (_, (_, report))| {
                    (d + report.distortion, n + report.n)
                });
                2.0 * std::f64::consts::LN_2 * loss / n.max(1) as f64
            }
        };
        for (index, (assigner, report)) in codings {
            let codebook = codebook_of(&assigner);
            design.add(index, codebook, assigner, report);
        }
        for (index, plan) in self.plan.tensors.iter().enumerate() {
            if let Treatment::Constant(value) = plan.treatment {
                let n = self
                    .tensors()
                    .get(index)
                    .and_then(TensorInfo::n_elements)
                    .unwrap_or(0);
                design.add(
                    index,
                    Codebook::Table(vec![value]),
                    Assigner::Constant,
                    Report::new(vec![n], 0.0, 0.0),
                );
            }
        }
        for (index, layer) in self.given.iter() {
            design.set_symbols(index, layer.clone());
        }
        let fine = FineCodebooks::new(self, design.slope)?;
        for (index, codebook, assigner, report) in fine.codings {
            design.add(index, codebook, assigner, report);
        }
        design.order_codebooks();
        Ok(design)
    }

    /// One tensor on its own.
    fn single(&self, index: usize, knob: Knob, samples: Option<&Samples>) -> Result<(Assigner, Report)> {
        let part = self.part(index, samples)?;
        let source = part.source();
        let span = self.span(index);
        let step = |slope| self.step(index, slope);
        let quantize = || Error::quantize(self.name(index));
        let (assigner, report) = match self.method_and_knob(index, knob)? {
            (Method::Grid, Knob::Slope(slope)) => {
                priced_grid(&source, span, step(slope), slope).map_err(quantize())?
            }
            (method, knob) => {
                let assigner = self
                    .free(method, knob, &[source], span, &step)?
                    .map_err(quantize())?;
                let report = cost(&assigner, &source).map_err(quantize())?;
                (assigner, report)
            }
        };
        Ok((assigner, part.scaled(report)))
    }

    /// All tensors with one codebook.
    ///
    /// On grids the tensors come one by one: of those that have to be converted no more than there are threads are in
    /// memory. Free levels and centres need them all at once.
    fn global(
        &self,
        main: &[usize],
        knob: Knob,
        samples: Option<&Samples>,
    ) -> Result<Vec<(Assigner, Report)>> {
        let quantize = || Error::quantize(self.name(main.first().copied().unwrap_or(0)));
        let span = main
            .iter()
            .fold(Span::EMPTY, |span, &index| span.join(self.span(index)));
        let step = |slope| short(within(span, grid::step_for_slope(slope, self.mean_h())));
        let method = self.options.method;
        if let (Method::Grid, Knob::Slope(slope)) = (method, knob) {
            let grid = grid::Grid::spanning(span, step(slope)).map_err(quantize())?;
            return self.shared_grid(main, grid, slope, samples);
        }
        let on_grid =
            matches!(method, Method::Uniform | Method::Grid) && self.options.centres == Centres::Grid;
        let parts = main
            .iter()
            .filter(|_| !on_grid)
            .map(|&index| self.part(index, samples));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let sources: Vec<Source<'_>> = parts.iter().map(Part::source).collect();
        let assigner = self
            .free(method, knob, &sources, span, &step)?
            .map_err(quantize())?;
        let reports = self.each_part(main, samples, |source| cost(&assigner, source))?;
        Ok(reports
            .into_iter()
            .map(|report| (assigner.clone(), report))
            .collect())
    }

    /// One grid and one table of prices for all tensors. Prices settle on samples, unless levels are too many for them.
    fn shared_grid(
        &self,
        main: &[usize],
        grid: grid::Grid,
        slope: f64,
        samples: Option<&Samples>,
    ) -> Result<Vec<(Assigner, Report)>> {
        let drawn = match samples {
            None if grid.n_levels <= grid::SETTLE_LEVELS => Some(Samples::new(self)?),
            _ => None,
        };
        let settled_on = samples.or(drawn.as_ref());
        let at = |prices: Option<&StaticPrices>, samples| {
            self.each_part(main, samples, |source| grid::cost(source, &grid, prices, slope))
        };
        let mut prices = prices_of(&at(None, settled_on)?);
        for _ in 1..GRID_ITERATIONS {
            prices = prices_of(&at(Some(&prices), settled_on)?);
        }
        let reports = at(Some(&prices), samples)?;
        let assigner = Assigner::Grid(grid, prices_of(&reports), slope);
        Ok(reports
            .into_iter()
            .map(|report| (assigner.clone(), report))
            .collect())
    }

    /// What `cost` says of every tensor, side by side.
    fn each_part(
        &self,
        main: &[usize],
        samples: Option<&Samples>,
        cost: impl Fn(&Source<'_>) -> tersor_quant::Result<Report> + Sync,
    ) -> Result<Vec<Report>> {
        let report = |&index: &usize| {
            let part = self.part(index, samples)?;
            let report = cost(&part.source()).map_err(Error::quantize(self.name(index)))?;
            Ok(part.scaled(report))
        };
        main.par_iter().map(report).collect()
    }

    /// The codebook of some tensors by any method but a priced grid. `step` is that of a slope.
    fn free(
        &self,
        method: Method,
        knob: Knob,
        parts: &[Source<'_>],
        span: Span,
        step: &dyn Fn(f64) -> f32,
    ) -> Result<tersor_quant::Result<Assigner>> {
        Ok(match (method, knob) {
            (Method::Uniform | Method::Grid, Knob::Slope(slope)) => self.cells(parts, span, step(slope)),
            (Method::Uniform | Method::Grid, Knob::Step(step)) => {
                self.cells(parts, span, within(span, short(step)))
            }
            (Method::Ecsq, knob) => ecsq_coding(parts, span, slope_or(knob, 0.0)),
            (Method::KMeans | Method::HessianKMeans, knob) => clusters(parts, method, knob),
            (method, Knob::Levels(_)) => return Err(needs_slope(method)),
        })
    }

    fn cells(&self, parts: &[Source<'_>], span: Span, step: f32) -> tersor_quant::Result<Assigner> {
        let grid = grid::Grid::spanning(span, step)?;
        let mut cells = uniform::design_on(parts, grid, self.options.centres);
        if self.options.centres != Centres::Grid {
            round_levels(&mut cells.levels, 0.0, &[]);
        }
        Ok(Assigner::Cells(cells))
    }
}

fn needs_slope(method: Method) -> Error {
    Error::Options(format!(
        "method {method} has no number of levels; give a slope, a step or a target"
    ))
}

fn clusters(parts: &[Source<'_>], method: Method, knob: Knob) -> tersor_quant::Result<Assigner> {
    let k = match knob {
        Knob::Levels(k) => k,
        Knob::Slope(_) | Knob::Step(_) => DEFAULT_LEVELS,
    };
    let options = kmeans::LloydOptions {
        weighted: method == Method::HessianKMeans,
        ..Default::default()
    };
    let zeros = parts.iter().any(|p| p.weights.contains(&0.0));
    let mut found = kmeans::lloyd(parts, k.max(1 + usize::from(zeros)), &options)?;
    round_levels(&mut found.levels, 0.0, &[]);
    Ok(Assigner::Nearest(found.levels, found.zero))
}

fn slope_or(knob: Knob, default: f64) -> f64 {
    if let Knob::Slope(slope) = knob {
        slope
    } else {
        default
    }
}

/// Ideal prices of all symbols of tensors that share a table.
fn prices_of(reports: &[Report]) -> StaticPrices {
    let mut counts = Vec::new();
    for report in reports {
        counts.resize(counts.len().max(report.counts.len()), 0);
        counts
            .iter_mut()
            .zip(&report.counts)
            .for_each(|(sum, n)| *sum += n);
    }
    StaticPrices::from_counts(&counts)
}

/// An f32 with 8 significant bits, close to `step`: it costs two bytes less, and steps need no more.
pub(crate) fn short(step: f32) -> f32 {
    let rounded = half::bf16::from_f32(step).to_f32();
    if rounded.is_normal() { rounded } else { step }
}

/// A step within what the weights allow. It is infinite where they have no sensitivity.
pub(crate) fn within(span: Span, step: f32) -> f32 {
    let least = span.min_step() * 1.01;
    // Beyond four times the largest weight all become zero anyway.
    step.clamp(least, (4.0 * span.magnitude()).max(least * 2.0))
}

/// A grid of one tensor with its own prices.
fn priced_grid(
    source: &Source<'_>,
    span: Span,
    step: f32,
    slope: f64,
) -> tersor_quant::Result<(Assigner, Report)> {
    let probe = grid::probe_on(source, grid::Grid::spanning(span, step)?, slope, GRID_ITERATIONS)?;
    let prices = StaticPrices::from_counts(&probe.report.counts);
    Ok((Assigner::Grid(probe.grid, prices, slope), probe.report))
}

fn ecsq_coding(parts: &[Source<'_>], span: Span, slope: f64) -> tersor_quant::Result<Assigner> {
    let (mut n, mut h) = (0.0, 0.0);
    for part in parts {
        n += part.len() as f64;
        h += part.len() as f64 * part.mean_h();
    }
    // Uniform levels are nearly optimal: the start of the iteration.
    let step = within(span, grid::step_for_slope(slope, h / f64::max(n, 1.0)));
    let step = step.max(span.min_step() * 64.0);
    let config = ecsq::EcsqConfig {
        slope,
        init: ecsq::Init::Uniform { step },
        ..Default::default()
    };
    let mut found = ecsq::design(parts, &config)?;
    let weights: Vec<f64> = found
        .prices
        .as_slice()
        .iter()
        .map(|&b| h * (-f64::from(b) / 65536.0).exp2())
        .collect();
    round_levels(&mut found.levels, slope, &weights);
    Ok(Assigner::Ecsq(found, slope))
}

/// Rounds levels to f16 where that is worth it: half precision saves 16 bits per level.
///
/// With a slope and the sum of h at each level, the loss of rounding is weighed against the bits; without, levels are
/// rounded if none moves by more than 1/1000 of the distance to its neighbour. Levels stay in ascending order.
fn round_levels(levels: &mut [f32], slope: f64, weights: &[f64]) {
    let rounded: Vec<f32> = levels.iter().map(|&l| f16::from_f32(l).to_f32()).collect();
    let distinct = rounded.iter().zip(rounded.iter().skip(1)).all(|(a, b)| a < b)
        && rounded.iter().all(|l| l.is_finite());
    let moved = levels.iter().zip(&rounded).map(|(a, b)| f64::from(a - b));
    let worth = if weights.is_empty() {
        let gap = levels
            .iter()
            .zip(levels.iter().skip(1))
            .map(|(a, b)| f64::from(b - a))
            .fold(f64::INFINITY, f64::min);
        moved.clone().all(|d| d.abs() < gap / 1000.0)
    } else {
        let loss: f64 = moved.zip(weights).map(|(d, h)| 0.5 * h * d * d).sum();
        loss < slope * 16.0 * levels.len() as f64
    };
    // Zero must stay the only zero: the reserved level of pruned weights.
    let zeros = |levels: &[f32]| levels.iter().filter(|l| **l == 0.0).count();
    if distinct && worth && zeros(&rounded) == zeros(levels) {
        levels.copy_from_slice(&rounded);
    }
}

/// Counts and loss of a source.
fn cost(assigner: &Assigner, source: &Source<'_>) -> tersor_quant::Result<Report> {
    assign(assigner, 0, source, &mut vec![0; source.len()])
}

/// Turns a source into symbols: a tensor from element `start` on.
pub(crate) fn assign(
    assigner: &Assigner,
    start: usize,
    source: &Source<'_>,
    out: &mut [u16],
) -> tersor_quant::Result<Report> {
    match assigner {
        Assigner::Grid(grid, prices, slope) => grid::assign(source, grid, prices, *slope, out),
        Assigner::Cells(cells) => Ok(uniform::assign(source, cells, out)),
        Assigner::Nearest(levels, zero) => tersor_quant::assign_nearest(source, levels, *zero, out),
        Assigner::Ecsq(found, slope) => ecsq::assign(source, found, *slope, out),
        Assigner::Mantissa { mantissa_bits, first } => {
            Ok(fine::assign_mantissa(source, *mantissa_bits, *first, out))
        }
        Assigner::Constant => {
            out.fill(0);
            Ok(Report::new(vec![source.len() as u64], 0.0, 0.0))
        }
        Assigner::Symbols(layer) => Ok(layer.part(start, source.weights, out)),
    }
}

fn codebook_of(assigner: &Assigner) -> Codebook {
    match assigner {
        Assigner::Grid(grid, ..) => grid_codebook(grid),
        Assigner::Cells(cells) => {
            let grid = cells.grid();
            let on_grid = cells.levels.iter().zip(0..).all(|(&l, s)| l == grid.value(s));
            if on_grid {
                grid_codebook(&grid)
            } else {
                Codebook::Table(cells.levels.clone())
            }
        }
        Assigner::Nearest(levels, _) => Codebook::Table(levels.clone()),
        Assigner::Ecsq(found, _) => Codebook::Table(found.levels.clone()),
        Assigner::Symbols(layer) => grid_codebook(&layer.grid),
        Assigner::Mantissa { .. } | Assigner::Constant => Codebook::Table(vec![0.0]),
    }
}

/// The grid as a codebook; one level at least, so that an empty tensor has one.
pub(crate) fn grid_codebook(grid: &grid::Grid) -> Codebook {
    Codebook::Grid {
        step: grid.step,
        first: grid.first,
        n_levels: grid.n_levels.max(1) as u32,
    }
}

impl Design {
    /// Gives a tensor its symbols, in place of what it had.
    pub(crate) fn set_symbols(&mut self, index: usize, layer: Arc<LayerSymbols>) {
        let (codebook, report) = (grid_codebook(&layer.grid), layer.report.clone());
        self.add(index, codebook, Assigner::Symbols(layer), report);
    }

    fn add(&mut self, index: usize, codebook: Codebook, assigner: Assigner, report: Report) {
        let known = self.codebooks.iter().rposition(|c| *c == codebook);
        let codebook = known.unwrap_or_else(|| {
            self.codebooks.push(codebook);
            self.codebooks.len() - 1
        });
        if let Some(slot) = self.codings.get_mut(index) {
            *slot = Some(Coding {
                codebook,
                assigner,
                report,
            });
        }
    }

    /// Numbers codebooks in the order of their first use, as a file needs them.
    pub(crate) fn order_codebooks(&mut self) {
        let mut order: Vec<Option<usize>> = vec![None; self.codebooks.len()];
        let mut ordered = Vec::with_capacity(self.codebooks.len());
        for coding in self.codings.iter_mut().flatten() {
            let old = coding.codebook;
            let Some(slot) = order.get_mut(old) else { continue };
            coding.codebook = *slot.get_or_insert_with(|| {
                ordered.extend(self.codebooks.get(old).cloned());
                ordered.len() - 1
            });
        }
        self.codebooks = ordered;
    }
}
