//! Steps of grids as they are stored.

use tersor_quant::Span;

/// Elements below which two bytes of a step matter.
pub(crate) const SMALL: u64 = 1 << 13;

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
