//! Error feedback along the paths of a trellis.
//!
//! The survivor of each state keeps errors of its own: what a path lost before is pushed onto its own next target (per-survivor
//! processing). Paths are decided at the end of a block of columns, and what the best one lost goes to all columns to come. During a
//! pass the coder is told, at each column, the index that led to the survivor that is best there, whether or not it is on the path that is
//! decided on later; the bits that count are those of the symbols.
//!
//! # Source
//! R. Raheli, A. Polydoros, C. Tzou, "Per-survivor processing", 1995. Ours: for the columns of a layer, at the prices of a coder that
//! learns.

use super::panel::BLOCK;
use super::problem::{Curvature, FeedbackConfig, Problem};
use super::schedule::{Quantized, REST, Stage, check};
use crate::choice::{Cost, Knob};
use crate::error::{Error, Result};
use crate::price::{TrellisPrice, coded_bits};
use crate::trellis::machine::{CODED, MAX_STATES, multiple, quantizer};
use crate::trellis::priced::Kept;

/// Columns after which paths are decided.
const DECIDED: usize = 4 * BLOCK;

/// Weights from which on there is one pass: the coder has learned their prices long before its end. Of 2,048 x 1,024 Laplacian weights a second
/// pass at the prices of the coder `context` did not lower the objective, neither at 0.8 nor at 1.6 bits per weight (`tersor compress --slope` with
/// moments, the files were the same).
const SETTLED: usize = 1 << 20;

/// Most passes after the first.
const fn further_passes(config: &FeedbackConfig, n_weights: usize) -> usize {
    if n_weights < SETTLED { config.passes } else { 0 }
}

/// A step of a path: the state before, the index, what it is off by, and the field of its column then.
#[derive(Clone, Copy, Default)]
struct Move {
    from: usize,
    index: i32,
    error: f64,
    field: f64,
}

/// The best path to a state.
#[derive(Clone)]
struct Survivor {
    cost: f64,
    /// The field of the columns of the block to come.
    field: Vec<f64>,
}

impl Problem<'_> {
    /// Quantizes on a trellis of eight states, at the prices of a coder that learns, one row after the other; symbols are multiples of the step.
    ///
    /// The first pass is priced from the state that the coder is given in, each further one by what it learned from the pass before, at most as
    /// many as there would be passes of descent, and none in layers of a million weights. After each the symbols are coded from the given state, which tells their
    /// bits; a pass that does not lower the objective is undone and is the last. The coder is left as it is after the symbols
    /// returned.
    ///
    /// # Errors
    /// [`Error::Setting`] for a step out of range, a negative slope, or an alphabet without zero.
    pub fn quantize_on_trellis<P: TrellisPrice>(
        &self,
        step: f32,
        slope: f64,
        price: &mut P,
    ) -> Result<Quantized> {
        check(step, slope)?;
        let knob = Knob::new(step, slope, price);
        if !knob.has_zero() {
            return Err(Error::Setting {
                name: "the least level on a trellis",
                value: f64::from(knob.ends.0),
                allowed: "zero or less, with zero among the levels",
            });
        }
        let given = price.snapshot();
        let mut best: Option<Quantized> = None;
        for _ in 0..=further_passes(&self.config, self.targets.len()) {
            if best.is_some() {
                price.rewind();
            }
            let mut symbols = vec![0; self.targets.len()];
            let mut field = vec![0.0; self.n_in()];
            let mut state = 0;
            let mut distortion = 0.0;
            for (row, symbols) in symbols.chunks_exact_mut(self.n_in()).enumerate() {
                state = self.feed_row((row, state), symbols, &mut field, knob, price);
                distortion += self.losses_fed(row, &field).sum::<f64>();
            }
            price.restore(&given);
            let rate_bits = coded_bits(symbols.iter().copied(), price);
            let stage = Stage {
                distortion,
                rate_bits,
            };
            let Some(best) = &mut best else {
                best = Some(Quantized {
                    symbols,
                    trace: vec![stage],
                });
                continue;
            };
            let last = best.trace.last().map_or(f64::INFINITY, |s| s.j(slope));
            let gain = last - stage.j(slope);
            if gain > 0.0 {
                best.symbols = symbols;
                best.trace.push(stage);
            }
            if gain <= REST * last {
                break;
            }
        }
        let best = best.unwrap_or(Quantized {
            symbols: Vec::new(),
            trace: Vec::new(),
        });
        price.restore(&given);
        coded_bits(best.symbols.iter().copied(), price);
        Ok(best)
    }

    /// Assigns the symbols of a row from a state on; returns the state after it.
    fn feed_row<P: TrellisPrice>(
        &self,
        (row, mut state): (usize, usize),
        symbols: &mut [i32],
        field: &mut [f64],
        knob: Knob,
        price: &mut P,
    ) -> usize {
        field.fill(0.0);
        for curvature in &self.curvatures {
            let n = curvature.inputs.len();
            for start in (0..n).step_by(DECIDED) {
                let block = start..n.min(start + DECIDED);
                let path = self.feed_block((row, state), curvature, block.clone(), field, knob, price);
                let mut errors = Vec::with_capacity(path.len());
                for (k, step) in block.clone().zip(&path) {
                    let q = quantizer(state);
                    symbols[curvature.inputs.start + k] = multiple(q, step.index) as i32;
                    state = CODED.next(state, step.index % 2 != 0);
                    errors.push(step.error);
                }
                for (i, errors) in errors.chunks(BLOCK).enumerate() {
                    let panel = curvature.factor.panel(block.start + i * BLOCK);
                    self.part(field, curvature)
                        .add(errors, errors.len(), panel, block.end..n);
                }
            }
        }
        state
    }

    /// The best path through a block; the field of its columns becomes that of the path.
    fn feed_block<P: TrellisPrice>(
        &self,
        (row, state): (usize, usize),
        curvature: &Curvature,
        block: std::ops::Range<usize>,
        field: &mut [f64],
        knob: Knob,
        price: &mut P,
    ) -> Vec<Move> {
        let field = &mut field[curvature.inputs.clone()][block.clone()];
        let dead = Survivor {
            cost: f64::INFINITY,
            field: field.to_vec(),
        };
        let mut survivors = vec![dead; CODED.count()];
        survivors[state].cost = 0.0;
        let mut next = survivors.clone();
        let mut moves = vec![[Move::default(); MAX_STATES]; block.len()];
        for (i, moves) in moves.iter_mut().enumerate() {
            let k = block.start + i;
            let position = row * self.n_in() + curvature.inputs.start + k;
            let pivot = curvature.factor.diagonal(k);
            let wanted = f64::from(self.targets[position]);
            let weight = self.config.caution * self.half_weights[row] * pivot * pivot;
            let pinned = self.is_pinned(position, knob);
            let mut kept = Kept::new(&mut *price, position);
            let mut costs = [f64::INFINITY; MAX_STATES];
            for (from, survivor) in survivors
                .iter()
                .enumerate()
                .filter(|(_, s)| s.cost < f64::INFINITY)
            {
                let target = wanted + survivor.field[i] / pivot;
                let cost = Cost { weight, target };
                let q = quantizer(from);
                let choices = if pinned {
                    kept.zero(q, cost, knob)
                } else {
                    kept.choices(q, cost, knob)
                };
                for (odd, choice) in [false, true].into_iter().zip(choices) {
                    let Some((index, cost)) = choice else { continue };
                    let to = CODED.next(from, odd);
                    let cost = survivor.cost + cost;
                    if cost < costs[to] {
                        costs[to] = cost;
                        let error = wanted - knob.value(multiple(q, index) as i32);
                        let field = survivor.field[i] + error * pivot;
                        moves[to] = Move {
                            from,
                            index,
                            error,
                            field,
                        };
                    }
                }
            }
            for ((next, cost), step) in next.iter_mut().zip(costs).zip(moves.iter()) {
                next.cost = cost;
                if cost < f64::INFINITY {
                    let rest = curvature.factor.row(k)[k + 1..block.end].iter();
                    let before = survivors[step.from].field[i + 1..].iter();
                    for ((next, before), &u) in next.field[i + 1..].iter_mut().zip(before).zip(rest) {
                        *next = before + step.error * u;
                    }
                }
            }
            std::mem::swap(&mut survivors, &mut next);
            let best = moves[best_of(&survivors)];
            price.push_index(position, quantizer(best.from), best.index);
        }
        let mut to = best_of(&survivors);
        let mut path: Vec<Move> = moves
            .iter()
            .rev()
            .map(|moves| {
                let step = moves[to];
                to = step.from;
                step
            })
            .collect();
        path.reverse();
        for (field, step) in field.iter_mut().zip(&path) {
            *field = step.field;
        }
        path
    }
}

/// The state of least cost.
fn best_of(survivors: &[Survivor]) -> usize {
    let best = (0..survivors.len()).min_by(|&a, &b| survivors[a].cost.total_cmp(&survivors[b].cost));
    best.unwrap_or(0)
}
