//! Codebooks by any method but a priced grid: cells, clusters, and free levels.

use super::steps::{short, within};
use super::{Assigner, DEFAULT_LEVELS, Knob};
use crate::options::{Centres, Method};
use crate::{Error, Result};
use half::f16;
use tersor_quant::{Source, Span, ecsq, grid, kmeans, uniform};

/// The codebook of some tensors by any method but a priced grid. A slope is turned into a step by the function beside it.
pub(super) fn design(
    method: Method,
    (knob, step): (Knob, &dyn Fn(f64) -> f32),
    parts: &[Source<'_>],
    span: Span,
    centres: Centres,
) -> Result<tersor_quant::Result<Assigner>> {
    Ok(match (method, knob) {
        (Method::Uniform | Method::Grid, Knob::Slope(slope)) => cells(parts, span, step(slope), centres),
        (Method::Uniform | Method::Grid, Knob::Step(step)) => {
            cells(parts, span, within(span, short(step)), centres)
        }
        (Method::Ecsq, knob) => ecsq_coding(parts, span, slope_or(knob, 0.0)),
        (Method::KMeans | Method::HessianKMeans, knob) => clusters(parts, method, knob),
        (method, Knob::Levels(_)) => return Err(needs_slope(method)),
    })
}

fn cells(parts: &[Source<'_>], span: Span, step: f32, centres: Centres) -> tersor_quant::Result<Assigner> {
    let grid = grid::Grid::spanning(span, step)?;
    let mut cells = uniform::design_on(parts, grid, centres);
    if centres != Centres::Grid {
        round_levels(&mut cells.levels, 0.0, &[]);
    }
    Ok(Assigner::Cells(cells))
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
