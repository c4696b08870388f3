//! Codebooks at one operating point: what each tensor will be coded with, and what that costs.

use crate::checkpoint::Checkpoint;
use crate::fine::{self, FineCodebooks};
use crate::options::{Centres, CompressOptions, Method, Rule, Scope};
use crate::plan::{Plan, TensorPlan, Treatment};
use crate::progress::Progress;
use crate::search::near_lossless_slope;
use crate::sensitivity::Sensitivities;
use crate::{Error, Result, weights};
use half::f16;
use rayon::prelude::*;
use std::borrow::Cow;
use tersor_codec::{Codebook, TensorInfo};
use tersor_quant::{Report, Source, StaticPrices, ecsq, grid, kmeans, uniform};

/// Iterations of prices and assignment on a grid.
const GRID_ITERATIONS: usize = 3;

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
const SMALL: usize = 1 << 13;

/// Elements of a tensor that a rough design looks at.
const SAMPLE: usize = 1 << 17;

/// Levels of a clustering for a single tensor whose number is not given.
const DEFAULT_LEVELS: usize = 16;

/// Largest sensitivity that quantizers see: products with squared errors stay finite.
const LARGEST_H: f64 = 1e30;

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
}

/// A tensor's codebook and how it is used.
#[derive(Clone, Debug)]
pub(crate) struct Coding {
    /// Index in [`Design::codebooks`].
    pub(crate) codebook: usize,
    pub(crate) assigner: Assigner,
    /// Expected counts and loss; exact for all methods but grids, which may do slightly better.
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
    /// Told of elements that are designed for and encoded.
    pub(crate) progress: &'a dyn Progress,
}

/// Weights and sensitivities of one tensor, loaded.
pub(crate) struct Loaded<'a> {
    pub(crate) weights: Cow<'a, [f32]>,
    h: Option<Cow<'a, [f32]>>,
    /// Mean sensitivity; beyond the range of f32 for tensors of extreme magnitudes under relative precision.
    pub(crate) mean_h: f64,
}

impl Loaded<'_> {
    /// The tensor as a quantizer sees it.
    pub(crate) fn source(&self) -> Source<'_> {
        match &self.h {
            Some(h) => Source::per_weight(&self.weights, h),
            None => Source::constant(&self.weights, self.mean_h.min(LARGEST_H) as f32),
        }
    }
}

impl<'a> Designer<'a> {
    pub(crate) fn tensors(&self) -> &'a [TensorInfo] {
        self.checkpoint.tensors()
    }

    fn name(&self, index: usize) -> &'a str {
        self.tensors().get(index).map_or("", |t| &t.name)
    }

    /// Loads a tensor.
    pub(crate) fn load(&self, index: usize) -> Result<Loaded<'a>> {
        let weights = weights::load(self.checkpoint, index)?;
        let h = self.plan.load_h(self.tensors(), self.sensitivities, index)?;
        let plan = self.plan.tensors.get(index);
        let mean_h = plan.map_or(1.0, TensorPlan::constant_h);
        Ok(Loaded { weights, h, mean_h })
    }

    /// Indices of the tensors treated so.
    pub(crate) fn treated(&self, treatment: &Treatment) -> Vec<usize> {
        let tensors = self.plan.tensors.iter().enumerate();
        tensors
            .filter(|(_, p)| p.treatment == *treatment)
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

    /// Designs codebooks for all tensors. A rough design looks at a part of large tensors: its codebooks are not for use, and
    /// its counts and losses are scaled up from that part.
    pub(crate) fn design(&self, knob: Knob, rough: bool) -> Result<Design> {
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
            let found = self.single(index, knob, rough)?;
            self.progress.advance(found.1.n);
            Ok((index, found))
        };
        let mut codings = own.par_iter().map(single).collect::<Result<Vec<_>>>()?;
        if !shared.is_empty() {
            codings.extend(shared.iter().copied().zip(self.global(&shared, knob)?));
            self.progress
                .advance(codings.iter().rev().take(shared.len()).map(|c| c.1.1.n).sum());
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
        let fine = FineCodebooks::new(self, design.slope)?;
        for (index, codebook, assigner, report) in fine.codings {
            design.add(index, codebook, assigner, report);
        }
        design.order_codebooks();
        Ok(design)
    }

    /// One tensor on its own.
    fn single(&self, index: usize, knob: Knob, rough: bool) -> Result<(Assigner, Report)> {
        let loaded = self.load(index)?;
        if !rough || loaded.weights.len() < 2 * SAMPLE {
            return self.coding(index, loaded.source(), knob);
        }
        let sample = tersor_quant::sample(&[loaded.source()], SAMPLE);
        let (assigner, report) = self.coding(index, sample.source(), knob)?;
        let factor = loaded.weights.len() as f64 / sample.source().len() as f64;
        let counts = report.counts.iter().map(|&c| (c as f64 * factor).round() as u64);
        let report = Report::new(
            counts.collect(),
            report.distortion * factor,
            report.squared_error * factor,
        );
        Ok((assigner, report))
    }

    /// The codebook of one tensor, or of a sample of it.
    fn coding(&self, index: usize, source: Source<'_>, knob: Knob) -> Result<(Assigner, Report)> {
        let quantize = || Error::quantize(self.name(index));
        match self.method_and_knob(index, knob)? {
            (Method::Grid, Knob::Slope(slope)) => {
                let step = grid_step(&source, slope, source.mean_h());
                grid_coding(&[source], step, slope)
            }
            (Method::Uniform | Method::Grid, Knob::Step(step)) => {
                self.cells(&[source], within(&[source], short(step)))
            }
            (Method::Uniform, Knob::Slope(slope)) => {
                self.cells(&[source], grid_step(&source, slope, source.mean_h()))
            }
            (Method::Ecsq, knob) => ecsq_coding(&[source], slope_or(knob, 0.0)),
            (method @ (Method::KMeans | Method::HessianKMeans), knob) => clusters(&[source], method, knob),
            (method, Knob::Levels(_)) => return Err(needs_slope(method)),
        }
        .map_err(quantize())
    }

    /// All tensors with one codebook.
    fn global(&self, main: &[usize], knob: Knob) -> Result<Vec<(Assigner, Report)>> {
        let loaded: Vec<Loaded<'_>> = main
            .iter()
            .map(|&index| self.load(index))
            .collect::<Result<_>>()?;
        let parts: Vec<Source<'_>> = loaded.iter().map(Loaded::source).collect();
        let quantize = || Error::quantize(self.name(main.first().copied().unwrap_or(0)));
        let mean_h = self.mean_h();
        let (assigner, report) = match (self.options.method, knob) {
            (Method::Grid, Knob::Slope(slope)) => {
                let step = short(within(&parts, grid::step_for_slope(slope, mean_h)));
                grid_coding(&parts, step, slope)
            }
            (Method::Uniform | Method::Grid, Knob::Step(step)) => {
                self.cells(&parts, within(&parts, short(step)))
            }
            (Method::Uniform, Knob::Slope(slope)) => {
                self.cells(&parts, short(within(&parts, grid::step_for_slope(slope, mean_h))))
            }
            (Method::Ecsq, _) => ecsq_coding(&parts, slope_or(knob, 0.0)),
            (method @ (Method::KMeans | Method::HessianKMeans), _) => clusters(&parts, method, knob),
            (method, Knob::Levels(_)) => return Err(needs_slope(method)),
        }
        .map_err(quantize())?;
        if parts.len() == 1 {
            return Ok(vec![(assigner, report)]);
        }
        // What each tensor contributes.
        let each = parts.par_iter().map(|part| {
            let mut symbols = vec![0; part.len()];
            let report = assign(&assigner, part, &mut symbols).map_err(quantize())?;
            Ok((assigner.clone(), report))
        });
        each.collect()
    }

    fn cells(&self, parts: &[Source<'_>], step: f32) -> tersor_quant::Result<(Assigner, Report)> {
        let config = uniform::UniformConfig {
            step,
            centres: self.options.centres,
        };
        let mut cells = uniform::design(parts, &config)?;
        if self.options.centres != Centres::Grid {
            round_levels(&mut cells.levels, 0.0, &[]);
        }
        let report = merged(parts, |part| {
            let mut symbols = vec![0; part.len()];
            Ok(uniform::assign(part, &cells, &mut symbols))
        })?;
        Ok((Assigner::Cells(cells), report))
    }
}

fn needs_slope(method: Method) -> Error {
    Error::Options(format!(
        "method {method} has no number of levels; give a slope, a step or a target"
    ))
}

fn clusters(parts: &[Source<'_>], method: Method, knob: Knob) -> tersor_quant::Result<(Assigner, Report)> {
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
    let report = merged(parts, |part| {
        let mut symbols = vec![0; part.len()];
        tersor_quant::assign_nearest(part, &found.levels, found.zero, &mut symbols)
    })?;
    Ok((Assigner::Nearest(found.levels, found.zero), report))
}

fn slope_or(knob: Knob, default: f64) -> f64 {
    if let Knob::Slope(slope) = knob {
        slope
    } else {
        default
    }
}

/// Sums the reports of parts that share a codebook.
fn merged(
    parts: &[Source<'_>],
    each: impl Fn(&Source<'_>) -> tersor_quant::Result<Report>,
) -> tersor_quant::Result<Report> {
    let mut total = Report::default();
    for part in parts {
        total.merge(&each(part)?);
    }
    Ok(total)
}

/// An f32 with 8 significant bits, close to `step`: it costs two bytes less, and steps need no more.
fn short(step: f32) -> f32 {
    let rounded = half::bf16::from_f32(step).to_f32();
    if rounded.is_normal() { rounded } else { step }
}

/// A step within what the weights allow. It is infinite where they have no sensitivity.
fn within(parts: &[Source<'_>], step: f32) -> f32 {
    let least = parts.iter().map(grid::min_step).fold(0.0, f32::max) * 1.01;
    let weights = parts.iter().flat_map(|p| p.weights);
    let largest = weights.fold(0.0f32, |m, w| m.max(w.abs()));
    // Beyond four times the largest weight all become zero anyway.
    step.clamp(least, (4.0 * largest).max(least * 2.0))
}

/// The step for a slope, within what the weights allow.
fn grid_step(source: &Source<'_>, slope: f64, mean_h: f64) -> f32 {
    let step = within(std::slice::from_ref(source), grid::step_for_slope(slope, mean_h));
    // Rounding a step changes a large tensor's size by more than two bytes, and makes sizes jump.
    if source.len() < SMALL { short(step) } else { step }
}

fn grid_coding(parts: &[Source<'_>], step: f32, slope: f64) -> tersor_quant::Result<(Assigner, Report)> {
    if let [part] = parts {
        let probe = grid::probe(part, step, slope, GRID_ITERATIONS)?;
        let prices = StaticPrices::from_counts(&probe.report.counts);
        return Ok((Assigner::Grid(probe.grid, prices, slope), probe.report));
    }
    // Several tensors share prices: iterate here, from the nearest levels.
    let cells = uniform::design(
        parts,
        &uniform::UniformConfig {
            step,
            centres: Centres::Grid,
        },
    )?;
    let mut report = merged(parts, |part| {
        let mut symbols = vec![0; part.len()];
        Ok(uniform::assign(part, &cells, &mut symbols))
    })?;
    let grid = cells.grid();
    for _ in 0..GRID_ITERATIONS {
        let prices = StaticPrices::from_counts(&report.counts);
        report = merged(parts, |part| {
            let mut symbols = vec![0; part.len()];
            grid::assign(part, &grid, &prices, slope, &mut symbols)
        })?;
    }
    let prices = StaticPrices::from_counts(&report.counts);
    Ok((Assigner::Grid(grid, prices, slope), report))
}

fn ecsq_coding(parts: &[Source<'_>], slope: f64) -> tersor_quant::Result<(Assigner, Report)> {
    let (mut n, mut h) = (0.0, 0.0);
    for part in parts {
        n += part.len() as f64;
        h += part.len() as f64 * part.mean_h();
    }
    // Uniform levels are nearly optimal: the start of the iteration.
    let least = parts.iter().map(grid::min_step).fold(0.0, f32::max) * 64.0;
    let step = within(parts, grid::step_for_slope(slope, h / f64::max(n, 1.0))).max(least);
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
    let report = merged(parts, |part| {
        let mut symbols = vec![0; part.len()];
        ecsq::assign(part, &found, slope, &mut symbols)
    })?;
    Ok((Assigner::Ecsq(found, slope), report))
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

/// Turns a source, or a chunk of one, into symbols.
pub(crate) fn assign(
    assigner: &Assigner,
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
    fn order_codebooks(&mut self) {
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
