//! Assignment on a trellis at the prices of a coder that learns.

use super::machine::{CODED, MAX_STATES, N_QUANTIZERS, multiple, quantizer};
use super::priced::Kept;
use crate::balance::Sums;
use crate::choice::{Cost, Knob};
use crate::error::{Error, Result, not_negative};
use crate::grid::Grid;
use crate::passes::{Assigned, settle};
use crate::price::TrellisPrice;
use crate::report::Report;
use crate::source::Source;

/// Weights after which paths are decided.
const DECIDED: usize = 256;

/// Assigns weights in order to the multiples of a trellis of eight states, which begins in the first, for least `1/2 h d^2 + slope * bits` at
/// the price that the coder has then. Of a [balanced](Source::balanced) source the path to each state has sums of errors of its own.
///
/// Passes, exact zeros and the state of the coder are as in [`assign_sequential`](crate::grid::assign_sequential); what a pass tells the coder is as in
/// [`feedback`](crate::feedback::Problem::quantize_on_trellis).
///
/// One thread; memory 16 KiB, and 2 bytes per weight for a second pass.
///
/// # Errors
/// As [`grid::assign`](crate::grid::assign); [`Error::Setting`] for a grid without zero.
///
/// # Panics
/// If `out` and the source differ in length.
pub fn assign<P: TrellisPrice>(
    source: &Source,
    grid: &Grid,
    slope: f64,
    passes: usize,
    price: &mut P,
    out: &mut [u16],
) -> Result<Report> {
    grid.check(source)?;
    not_negative("slope", slope)?;
    assert_eq!(source.len(), out.len(), "a symbol for each weight");
    let knob = Knob::new(grid.step, slope, price);
    if !knob.has_zero() || grid.first + grid.zero_symbol() as i32 != 0 {
        return Err(Error::Setting {
            name: "the least level on a trellis",
            value: f64::from(grid.first),
            allowed: "zero or less, with zero among the levels",
        });
    }
    Ok(settle((slope, passes), price, out, |price, out| {
        one_pass(source, grid, knob, price, out)
    }))
}

/// A step of a path: the state before, and the index.
#[derive(Clone, Copy, Default)]
struct Move {
    from: u8,
    index: i32,
}

/// The best path to a state: what it costs, and its sums of errors.
#[derive(Clone)]
struct Survivor<'a> {
    cost: f64,
    sums: Option<Sums<'a>>,
}

fn one_pass<'a, P: TrellisPrice>(
    source: &Source<'a>,
    grid: &Grid,
    knob: Knob,
    price: &mut P,
    out: &mut [u16],
) -> Assigned<'a> {
    let mut assigned = Assigned::new(source, grid);
    let mut state = 0;
    let mut moves = vec![[Move::default(); MAX_STATES]; DECIDED.min(source.len())];
    for (block, out) in out.chunks_mut(DECIDED).enumerate() {
        let start = block * DECIDED;
        let part = source.slice(start..start + out.len());
        let path = moves.get_mut(..out.len()).unwrap_or_default();
        let last = follow(&part, (start, state), assigned.sums(), knob, price, path);
        let mut to = last;
        for (slot, moves) in out.iter_mut().zip(path.iter()).rev() {
            let step = moves[to];
            to = usize::from(step.from);
            *slot = (multiple(quantizer(to), step.index) as i32 - grid.first) as u16;
        }
        state = last;
        for (i, &symbol) in out.iter().enumerate() {
            assigned.take(part.weights[i], part.h.at(i), symbol);
        }
    }
    assigned
}

/// The best paths through a block from a state on; returns the state where the cheapest ends.
fn follow<'a, P: TrellisPrice>(
    source: &Source<'a>,
    (start, state): (usize, usize),
    sums: Option<&Sums<'a>>,
    knob: Knob,
    price: &mut P,
    path: &mut [[Move; MAX_STATES]],
) -> usize {
    let dead = Survivor {
        cost: f64::INFINITY,
        sums: sums.cloned(),
    };
    let mut survivors: [Survivor<'_>; MAX_STATES] = std::array::from_fn(|_| dead.clone());
    survivors[state].cost = 0.0;
    for (i, moves) in path.iter_mut().enumerate() {
        let (w, h) = (source.weights[i], source.h.at(i));
        let root = f64::from(h).sqrt();
        let mut kept = Kept::new(&mut *price, start + i);
        // Without sums all paths have the same target.
        let mut shared = [None; N_QUANTIZERS];
        let mut costs = [f64::INFINITY; MAX_STATES];
        for (from, survivor) in survivors.iter().enumerate() {
            if survivor.cost == f64::INFINITY {
                continue;
            }
            let q = quantizer(from);
            let choices = shared[q].unwrap_or_else(|| {
                let cost = Cost::balanced((w, h), survivor.sums.as_ref());
                if w == 0.0 {
                    kept.zero(q, cost, knob)
                } else {
                    kept.choices(q, cost, knob)
                }
            });
            shared[q] = Some(choices).filter(|_| survivor.sums.is_none());
            for (odd, choice) in [false, true].into_iter().zip(choices) {
                let Some((index, cost)) = choice else { continue };
                let to = CODED.next(from, odd);
                let cost = survivor.cost + cost;
                if cost < costs[to] {
                    costs[to] = cost;
                    moves[to] = Move {
                        from: from as u8,
                        index,
                    };
                }
            }
        }
        survivors = std::array::from_fn(|to| {
            let step = moves[to];
            let from = usize::from(step.from);
            let mut sums = survivors[from].sums.clone();
            if let Some(sums) = &mut sums {
                let error = f64::from(w) - knob.value(multiple(quantizer(from), step.index) as i32);
                sums.push(error * root);
            }
            Survivor {
                cost: costs[to],
                sums,
            }
        });
        let best = moves[best_of(&survivors)];
        price.push_index(start + i, quantizer(usize::from(best.from)), best.index);
    }
    best_of(&survivors)
}

/// The state of least cost.
fn best_of(survivors: &[Survivor<'_>]) -> usize {
    let best = (0..survivors.len()).min_by(|&a, &b| survivors[a].cost.total_cmp(&survivors[b].cost));
    best.unwrap_or(0)
}
