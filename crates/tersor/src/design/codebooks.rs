//! The codebooks of all tensors at one operating point.

use super::assigner::{codebook_of, cost};
use super::steps::{short, within};
use super::{Assigner, Design, Designer, GRID_ITERATIONS, Knob, Part, levels};
use crate::fine::FineCodebooks;
use crate::options::{Centres, Method, Rule, Scope};
use crate::plan::Treatment;
use crate::samples::Samples;
use crate::search::near_lossless_slope;
use crate::{Error, Result};
use rayon::prelude::*;
use tersor_codec::{Codebook, TensorInfo};
use tersor_quant::{Report, Source, Span, StaticPrices, grid};

impl Designer<'_> {
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
                let assigner = levels::design(method, (knob, &step), &[source], span, self.options.centres)?
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
        let assigner = levels::design(method, (knob, &step), &sources, span, self.options.centres)?
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
