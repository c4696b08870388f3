//! How far methods are from what no memoryless code can beat.

use crate::Result;
use crate::compress::Compressor;
use crate::report::TensorReport;
use crate::search::SLOPE_PER_LOSS;
use serde::Serialize;
use std::collections::BTreeMap;

/// Slopes per octave at which the bound is found.
const PER_OCTAVE: f64 = 4.0;
/// Slopes that are tried for a point, at most.
const MAX_SLOPES: usize = 80;

/// Order-0 rates against their bound, in bits per element of quantized tensors of two or more dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// The elements.
    #[serde(rename = "bound_elements")]
    pub n_elements: f64,
    /// Order-0 entropy of the symbols, each tensor's own.
    pub entropy_bpw: f64,
    /// Least rate at the same weighted error: [`tersor_quant::bound`].
    pub bound_bpw: f64,
    /// The one less the other.
    pub gap_bpw: f64,
}

/// The bound of a checkpoint's tensors: least costs by the logarithm of the slope, in steps, as they are asked for.
#[derive(Default)]
pub(super) struct Bound(BTreeMap<i32, Option<f64>>);

fn slope(step: i32) -> f64 {
    (f64::from(step) / PER_OCTAVE).exp2()
}

impl Bound {
    /// Bits that a code of this distortion takes at least, by the line of one slope, if that is known.
    fn line(&mut self, compressor: &Compressor<'_>, step: i32, distortion: f64) -> Result<Option<f64>> {
        let known = self.0.get(&step).copied();
        let cost = known.map_or_else(|| compressor.least_cost(slope(step)), Ok)?;
        self.0.insert(step, cost);
        Ok(cost.map(|cost| (cost - distortion) / slope(step)))
    }

    /// Bits that a code of this distortion takes at least: the curve is above each of its lines, and the highest is near the slope at
    /// hand.
    fn bits(&mut self, compressor: &Compressor<'_>, distortion: f64, near: f64) -> Result<Option<f64>> {
        let mut at = (PER_OCTAVE * near.log2()).round() as i32;
        let Some(mut best) = self.line(compressor, at, distortion)? else {
            return Ok(None);
        };
        for direction in [1, -1] {
            for _ in 0..MAX_SLOPES {
                match self.line(compressor, at + direction, distortion)? {
                    Some(next) if next > best => (at, best) = (at + direction, next),
                    _ => break,
                }
            }
        }
        Ok(Some(best.max(0.0)))
    }

    /// The gap of a file's tensors.
    pub(super) fn gap(
        &mut self,
        compressor: &Compressor<'_>,
        tensors: &[TensorReport],
    ) -> Result<Option<Gap>> {
        let (mut n, mut bits, mut distortion) = (0.0, 0.0, 0.0);
        for tensor in tensors.iter().filter(|t| t.shape.len() > 1) {
            if let (Some(entropy), Some(error)) = (tensor.entropy_bpw, tensor.weighted_error) {
                let elements = tensor.shape.iter().map(|&e| e as f64).product::<f64>();
                n += elements;
                bits += elements * entropy;
                distortion += error;
            }
        }
        if n == 0.0 || distortion <= 0.0 {
            return Ok(None);
        }
        let least = self.bits(compressor, distortion, SLOPE_PER_LOSS * distortion / n)?;
        Ok(least.map(|least| Gap {
            n_elements: n,
            entropy_bpw: bits / n,
            bound_bpw: least / n,
            gap_bpw: (bits - least) / n,
        }))
    }
}
