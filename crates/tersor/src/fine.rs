//! One-dimensional tensors: biases, normalisation, running statistics.
//!
//! They are small and each element matters to many weights, so they get fine codebooks under the same slope, and few
//! of them, since a codebook costs as much as several elements: steps are powers of two and mantissas whole bits, and
//! all tensors with the same step, or the same mantissa, share one codebook.

use crate::Result;
use crate::design::{Assigner, Designer, Loaded, grid_codebook};
use crate::plan::{SensitivitySource, Treatment};
use tersor_codec::{Codebook, MAX_LEVELS};
use tersor_quant::{Report, Source, Span, grid, uniform};

/// Codings of all one-dimensional tensors: index, codebook, assigner, cost.
pub(crate) struct FineCodebooks {
    pub(crate) codings: Vec<(usize, Codebook, Assigner, Report)>,
}

/// How one tensor is rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rounding {
    /// To multiples of 2^exponent.
    Step(i32),
    /// To so many bits after the leading one; all elements are positive.
    Mantissa(u32),
}

/// Upper bits of the nearest number with `mantissa_bits` bits after the leading one, ties away from zero.
fn key(w: f32, mantissa_bits: u32) -> u32 {
    let drop = 23 - mantissa_bits;
    let half = if drop == 0 { 0 } else { 1 << (drop - 1) };
    // Rounding up may carry into the exponent, which is right; the largest finite number must not become infinite.
    ((w.to_bits() + half) >> drop).min((0xff << mantissa_bits) - 1)
}

/// Assigns positive elements to mantissa levels; symbol 0 is the number `first`.
pub(crate) fn assign_mantissa(
    source: &Source<'_>,
    mantissa_bits: u32,
    first: u32,
    out: &mut [u16],
) -> Report {
    let (mut counts, mut distortion, mut squared_error) = (Vec::new(), 0.0, 0.0);
    for (i, (out, &w)) in out.iter_mut().zip(source.weights).enumerate() {
        let number = key(w, mantissa_bits);
        let symbol = (number - first.min(number)).min(u32::from(u16::MAX));
        let error = f64::from(w) - f64::from(f32::from_bits((first + symbol) << (23 - mantissa_bits)));
        // Under relative precision the mean of h: that of an element is in inverse proportion to w^2.
        distortion += 0.5 * f64::from(source.h.at(i)) * error * error;
        squared_error += error * error;
        *out = symbol as u16;
        if counts.len() <= symbol as usize {
            counts.resize(symbol as usize + 1, 0);
        }
        if let Some(count) = counts.get_mut(symbol as usize) {
            *count += 1;
        }
    }
    Report::new(counts, distortion, squared_error)
}

/// Mantissa bits at which one more is worth its bit: relative rounding errors of m bits lose h w^2 2^-2m x 0.0225 on
/// average over a binade (a uniform error of 2^-m / 12 squared, halved, times the mean of 1 / x^2 over log-uniform x in
/// 1..2), so `slope = 2 ln 2` times that.
fn mantissa_bits(stake: f64, slope: f64) -> u32 {
    let bits = 0.5 * (0.0312 * stake / slope.max(f64::MIN_POSITIVE)).log2();
    bits.round().clamp(0.0, 23.0) as u32
}

/// A tensor's index, how it is rounded, its elements and their range.
type Member<'a> = (usize, Rounding, Loaded<'a>, Span);

/// Tensors that share a codebook: rounded alike, and with no more than [`MAX_LEVELS`] together.
fn share<'t, 'a>(tensors: &'t [Member<'a>]) -> Vec<(Rounding, Vec<&'t Member<'a>>)> {
    // With the least and the greatest number of a level so far.
    let mut shared: Vec<(Rounding, Vec<&Member<'a>>, i64, i64)> = Vec::new();
    for tensor in tensors {
        let number = |w: f32| match tensor.1 {
            Rounding::Mantissa(bits) => i64::from(key(w, bits)),
            Rounding::Step(exponent) => (f64::from(w) / f64::from(exponent).exp2()).round() as i64,
        };
        // Rounding is monotone: the ends bound all numbers.
        let (first, last) = (number(tensor.3.min), number(tensor.3.max));
        // One level to spare at either end: ties may round the other way.
        let fits = |group: &&mut (Rounding, Vec<&Member<'a>>, i64, i64)| {
            group.0 == tensor.1 && last.max(group.3) - first.min(group.2) < MAX_LEVELS as i64 - 2
        };
        match shared.iter_mut().find(fits) {
            Some(group) => {
                group.1.push(tensor);
                (group.2, group.3) = (group.2.min(first), group.3.max(last));
            }
            None => shared.push((tensor.1, vec![tensor], first, last)),
        }
    }
    shared
        .into_iter()
        .map(|(kind, members, ..)| (kind, members))
        .collect()
}

impl FineCodebooks {
    /// Designs codebooks for all one-dimensional tensors under a slope.
    pub(crate) fn new(designer: &Designer<'_>, slope: f64) -> Result<Self> {
        let mut tensors = Vec::new();
        for index in designer.treated(&Treatment::Fine) {
            let loaded = designer.load(index)?;
            let rounding = rounding(designer, index, &loaded, slope);
            tensors.push((index, rounding, loaded, designer.span(index)));
        }
        let mut codings = Vec::with_capacity(tensors.len());
        for (kind, members) in share(&tensors) {
            let parts: Vec<Source<'_>> = members.iter().map(|t| t.2.source()).collect();
            let quantize = || {
                crate::Error::quantize(
                    designer
                        .tensors()
                        .get(members.first().map_or(0, |m| m.0))
                        .map_or("", |t| &t.name),
                )
            };
            let span = members
                .iter()
                .fold(Span::EMPTY, |span, member| span.join(member.3));
            let (codebook, assigner) = match kind {
                Rounding::Step(exponent) => {
                    let grid = grid::Grid::spanning(span, (exponent as f32).exp2()).map_err(quantize())?;
                    (
                        grid_codebook(&grid),
                        Assigner::Cells(uniform::Uniform::from(grid)),
                    )
                }
                Rounding::Mantissa(bits) => {
                    let (first, last) = (key(span.min, bits), key(span.max, bits));
                    let codebook = Codebook::Mantissa {
                        mantissa_bits: bits,
                        first,
                        n_levels: last - first + 1,
                    };
                    (
                        codebook,
                        Assigner::Mantissa {
                            mantissa_bits: bits,
                            first,
                        },
                    )
                }
            };
            for (member, part) in members.iter().zip(&parts) {
                let mut symbols = vec![0; part.len()];
                let report = crate::design::assign(&assigner, 0, part, &mut symbols).map_err(quantize())?;
                codings.push((member.0, codebook.clone(), assigner.clone(), report));
            }
        }
        Ok(Self { codings })
    }
}

fn rounding(designer: &Designer<'_>, index: usize, loaded: &Loaded<'_>, slope: f64) -> Rounding {
    let source = loaded.source();
    let Some(plan) = designer.plan.tensors.get(index) else {
        return Rounding::Mantissa(23);
    };
    let slope = plan.rule.slope(slope);
    if plan.sensitivity == SensitivitySource::Relative && plan.positive() {
        // Mantissa numbers span at most 65,536 levels: six decades leave 11 bits.
        let keys = |bits: u32| key(plan.span.max, bits) - key(plan.span.min, bits);
        let wanted = mantissa_bits(plan.mean_h, slope);
        let bits = (0..=wanted).rev().find(|&b| keys(b) < 1 << 15).unwrap_or(0);
        return Rounding::Mantissa(bits);
    }
    let mean_h = match plan.sensitivity {
        SensitivitySource::Relative => loaded.mean_h,
        _ => source.mean_h(),
    };
    let step = grid::step_for_slope(slope, mean_h);
    let least = plan.span.min_step() * 2.0;
    let most = (2.0 * plan.span.magnitude()).max(least);
    Rounding::Step(step.clamp(least, most).log2().round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mantissas_round_to_nearest_and_never_reach_zero_or_infinity() {
        let round = |w: f32, bits| f32::from_bits(key(w, bits) << (23 - bits));
        assert_eq!(round(1.3, 2), 1.25);
        assert_eq!(round(1.9, 2), 2.0);
        assert_eq!(round(1e-20, 0), 2f32.powi(-67)); // 1e-20 is 1.48 x 2^-67
        assert!(round(f32::MIN_POSITIVE, 0) > 0.0);
        assert!(round(f32::MAX, 0).is_finite());
        assert_eq!(round(std::f32::consts::PI, 23), std::f32::consts::PI);
    }
}
