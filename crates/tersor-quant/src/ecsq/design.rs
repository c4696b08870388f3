//! The iterations, on a sample first if there are many weights.

use super::{Assigner, Ecsq, EcsqConfig, Init, IterationReport, Sensitivities};
use crate::atoms::Atoms;
use crate::error::{Error, MAX_LEVELS, Result, not_negative};
use crate::fold::{self, GROUPS};
use crate::levels::Nearest;
use crate::price::StaticPrices;
use crate::report::entropy_bits;
use crate::rounding::fit;
use crate::sample::sample;
use crate::source::Source;
use crate::span::Span;

/// Designs levels and prices for least `sum 1/2 h d^2 + slope * bits`, bits at order 0.
///
/// The first assignment is to the nearest level of the start; its cost opens the trace. If an exact zero exists, a
/// level is pinned at exactly 0 (added if the start lacks one), and zeros stay there.
///
/// More than [`EcsqConfig::sample`] weights are first sampled ([`crate::sample()`]): iterations run on the sample until
/// they rest, then up to [`EcsqConfig::full_iterations`] on all weights. Levels of the start that no sampled
/// weight is nearest to, but others are (outliers), wait with their first price and rejoin. Should the sample mislead,
/// so that all weights cost more than at the start, its result is dropped: the trace never rises.
///
/// # Errors
/// [`Error::Setting`] for a negative slope or tolerance, or levels given that are not finite; [`Error::Levels`] for a
/// number of levels out of range; [`Error::StepTooSmall`] if [`Init::Uniform`] needs more than 65,536 of them.
pub fn design(parts: &[Source], config: &EcsqConfig) -> Result<Ecsq> {
    not_negative("slope", config.slope)?;
    not_negative("tolerance", config.tolerance)?;
    let n: usize = parts.iter().map(Source::len).sum();
    let has_zeros = fold::fold(
        parts,
        GROUPS,
        || false,
        |z, _, s| *z |= s.weights.contains(&0.0),
        |a, b| *a |= b,
    );
    let start = Start::new(parts, config, has_zeros)?;
    if n == 0 {
        let prices = StaticPrices::default();
        return Ok(Ecsq {
            levels: vec![],
            prices,
            zero: None,
            trace: vec![],
            sample_iterations: 0,
        });
    }

    let all = Iteration {
        parts,
        slope: config.slope,
        h: Sensitivities::of(parts),
    };
    let (first, counts, mut book) = all.nearest(&start);
    let mut trace = vec![first];
    let mut sample_iterations = 0;
    let mut iterations = config.max_iterations;
    if n > config.sample && config.sample > 0 {
        iterations = config.full_iterations;
        let (sampled, done) = on_sample(parts, config, &start, &counts);
        sample_iterations = done;
        let (report, next) = all.next(&sampled);
        if report.j <= first.j {
            trace.push(report);
            book = next;
            iterations = iterations.saturating_sub(1);
        }
    }
    all.until_rest(&mut book, &mut trace, iterations, config.tolerance);
    let prices = StaticPrices::from_counts(&book.counts);
    Ok(Ecsq {
        levels: book.levels,
        prices,
        zero: book.zero.map(|z| z as u16),
        trace,
        sample_iterations,
    })
}

/// Iterates on a sample, starting from levels that all weights have counts for.
fn on_sample(parts: &[Source], config: &EcsqConfig, start: &Start, counts: &[u64]) -> (Book, usize) {
    let taken = sample(parts, config.sample);
    let parts = [taken.source()];
    let few = Iteration {
        parts: &parts,
        slope: config.slope,
        h: Sensitivities::of(&parts),
    };
    let (first, seen, mut book) = few.nearest(start);
    let mut trace = vec![first];
    few.until_rest(&mut book, &mut trace, config.max_iterations, config.tolerance);
    // Frequencies in terms of all weights, so that both kinds of levels can stand together.
    let total: u64 = counts.iter().sum();
    let scale = total as f64 / seen.iter().sum::<u64>().max(1) as f64;
    let scaled = |&c: &u64| ((c as f64 * scale) as u64).max(1);
    let mut members: Vec<(f32, u64, bool)> = book
        .levels
        .iter()
        .zip(&book.counts)
        .enumerate()
        .map(|(i, (&level, count))| (level, scaled(count), Some(i) == book.zero))
        .collect();
    let unseen = |i: &usize| seen[*i] == 0 && counts[*i] > 0 && Some(*i) != start.zero;
    members.extend(
        (0..counts.len())
            .filter(unseen)
            .map(|i| (start.levels[i], counts[i], false)),
    );
    (Book::sorted(members), trace.len() - 1)
}

/// Where to start.
struct Start {
    levels: Vec<f32>,
    zero: Option<usize>,
}

impl Start {
    fn new(parts: &[Source], config: &EcsqConfig, has_zeros: bool) -> Result<Self> {
        let mut levels = match &config.init {
            Init::Uniform { step } => {
                let (first, n_levels) = fit(Span::of(parts), *step)?;
                (first..first + n_levels as i32)
                    .map(|i| step * i as f32)
                    .collect()
            }
            Init::Quantiles => {
                if !(1..=MAX_LEVELS).contains(&config.levels) {
                    return Err(Error::Levels {
                        got: config.levels,
                        min: 1,
                        why: "",
                    });
                }
                let mut atoms = Atoms::of(parts, false);
                if !atoms.exact && config.levels.saturating_mul(4) > atoms.len() {
                    atoms = Atoms::of(parts, true);
                }
                let room = config.levels - usize::from(has_zeros && config.levels > 1);
                let edges = atoms.equal_runs(room);
                edges
                    .windows(2)
                    .map(|e| atoms.value(atoms.centre(e[0], e[1])))
                    .collect()
            }
            Init::Levels(levels) => {
                if let Some(&value) = levels.iter().find(|v| !v.is_finite()) {
                    return Err(Error::Setting {
                        name: "a level",
                        value: f64::from(value),
                        allowed: "a finite number",
                    });
                }
                levels.clone()
            }
        };
        if has_zeros && !levels.contains(&0.0) {
            levels.push(0.0);
        }
        // Adding 0 turns -0 into 0, so that equal levels are adjacent.
        for v in &mut levels {
            *v += 0.0;
        }
        levels.sort_by(f32::total_cmp);
        levels.dedup();
        if levels.len() > MAX_LEVELS || (levels.is_empty() && parts.iter().any(|p| !p.is_empty())) {
            return Err(Error::Levels {
                got: levels.len(),
                min: 1,
                why: "",
            });
        }
        let zero = if has_zeros {
            levels.iter().position(|&v| v == 0.0)
        } else {
            None
        };
        Ok(Start { levels, zero })
    }
}

/// Levels with the counts that price them.
struct Book {
    levels: Vec<f32>,
    counts: Vec<u64>,
    zero: Option<usize>,
}

impl Book {
    /// From level, count and whether it is the pinned one; levels without members are left out, but for that.
    fn sorted(mut members: Vec<(f32, u64, bool)>) -> Self {
        members.retain(|&(_, count, pinned)| count > 0 || pinned);
        members.sort_by(|a, b| a.0.total_cmp(&b.0));
        Book {
            zero: members.iter().position(|&(_, _, pinned)| pinned),
            levels: members.iter().map(|m| m.0).collect(),
            counts: members.iter().map(|m| m.1).collect(),
        }
    }

    /// Ideal prices as loss. Not rounded: rounding could make the objective rise.
    fn prices(&self, slope: f64) -> Vec<f64> {
        let n = self.counts.iter().sum::<u64>() as f64;
        self.counts
            .iter()
            .map(|&c| slope * (n / c.max(1) as f64).log2())
            .collect()
    }
}

/// Members of a level.
#[derive(Clone, Copy, Default)]
struct Cell {
    count: u64,
    h: f64,
    hw: f64,
    loss: f64,
}

struct Iteration<'a> {
    parts: &'a [Source<'a>],
    slope: f64,
    h: Sensitivities,
}

impl Iteration<'_> {
    /// Assigns to the nearest levels. Also returns their counts, unused ones included.
    fn nearest(&self, start: &Start) -> (IterationReport, Vec<u64>, Book) {
        let nearest = Nearest::new(&start.levels, None);
        let cells = self.cells(&start.levels, |_, w, _| nearest.symbol(w));
        let counts = cells.iter().map(|c| c.count).collect();
        let (report, book) = self.update(&start.levels, start.zero, &cells);
        (report, counts, book)
    }

    /// Assigns by cost; the report of that assignment, and the book made from it.
    fn next(&self, book: &Book) -> (IterationReport, Book) {
        let zero = book.zero.map(|z| z as u16);
        let assigner = Assigner::new(&book.levels, book.prices(self.slope), zero, &self.h);
        let cells = self.cells(&book.levels, |part, w, h| assigner.symbol(part, w, h));
        self.update(&book.levels, book.zero, &cells)
    }

    fn until_rest(
        &self,
        book: &mut Book,
        trace: &mut Vec<IterationReport>,
        iterations: usize,
        tolerance: f64,
    ) {
        for _ in 0..iterations {
            let before = trace.last().map_or(f64::INFINITY, |r| r.j);
            let (report, next) = self.next(book);
            // Only rounding can make it rise; then this is the end.
            if report.j > before {
                return;
            }
            trace.push(report);
            *book = next;
            if before - report.j <= tolerance * before {
                return;
            }
        }
    }

    fn cells(&self, levels: &[f32], symbol: impl Fn(usize, f32, f32) -> usize + Sync) -> Vec<Cell> {
        fold::fold(
            self.parts,
            GROUPS,
            || vec![Cell::default(); levels.len()],
            |cells, part, chunk| {
                chunk.for_each(|w, h| {
                    let symbol = symbol(part, w, h);
                    let d = f64::from(w - levels[symbol]);
                    let (w, h) = (f64::from(w), f64::from(h));
                    let cell = &mut cells[symbol];
                    cell.count += 1;
                    cell.h += h;
                    cell.hw += h * w;
                    cell.loss += h * d * d;
                });
            },
            |a, b| {
                for (a, b) in a.iter_mut().zip(b) {
                    let count = a.count + b.count;
                    *a = Cell {
                        count,
                        h: a.h + b.h,
                        hw: a.hw + b.hw,
                        loss: a.loss + b.loss,
                    };
                }
            },
        )
    }

    fn update(&self, levels: &[f32], zero: Option<usize>, cells: &[Cell]) -> (IterationReport, Book) {
        let counts: Vec<u64> = cells.iter().map(|c| c.count).collect();
        let distortion = 0.5 * cells.iter().map(|c| c.loss).sum::<f64>();
        let rate_bits = entropy_bits(&counts);
        let report = IterationReport {
            j: distortion + self.slope * rate_bits,
            distortion,
            rate_bits,
            levels_in_use: counts.iter().filter(|&&c| c > 0).count(),
        };
        let member = |(i, (&level, cell)): (usize, (&f32, &Cell))| {
            let pinned = Some(i) == zero;
            let mean = if cell.h > 0.0 && !pinned {
                (cell.hw / cell.h) as f32
            } else {
                level
            };
            (mean, cell.count, pinned)
        };
        (
            report,
            Book::sorted(levels.iter().zip(cells).enumerate().map(member).collect()),
        )
    }
}
