//! From a template to where the pen goes in one image.

use super::SIDE;
use super::template::{Stroke, Template};
use crate::random::Random;
use crate::warp::{Affine, AffineRange, Displacement};

/// How far digits differ in pose; the shift is beyond centring.
const RANGE: AffineRange = AffineRange {
    rotate_degrees: 14.0,
    scale_frac: 0.18,
    shear_frac: 0.3,
    shift_px: 1.8,
};
/// Pixels per unit of a template.
const HEIGHT_PX: f32 = 18.5;
/// Deviation of each point of a template, as a fraction of the height.
const JITTER: f32 = 0.022;
/// Deviation of the displacement at each point of its grid, in pixels.
const ELASTIC_PX: f32 = 1.1;
/// Straight pieces between two points of a curve.
const PIECES: usize = 8;

/// Where the pen goes: polylines in pixels; the centre of the first pixel is at 0.
pub(super) fn pose(template: Template, random: &mut Random) -> Vec<Vec<[f32; 2]>> {
    let affine = Affine::random(&RANGE, random);
    let displacement = Displacement::random(ELASTIC_PX, random);
    let centre = (SIDE - 1) as f32 / 2.0;
    let place = |[x, y]: [f32; 2]| {
        let [x, y] = affine.map([x * HEIGHT_PX, y * HEIGHT_PX]).map(|v| v + centre);
        let [dx, dy] = displacement.at([x, y].map(|v| v / (SIDE - 1) as f32));
        [x + dx, y + dy]
    };
    template
        .iter()
        .map(|stroke| path(stroke, random).into_iter().map(place).collect())
        .collect()
}

/// A jittered stroke as a polyline of short pieces.
fn path(stroke: &Stroke, random: &mut Random) -> Vec<[f32; 2]> {
    let points: Vec<[f32; 2]> = stroke
        .points
        .iter()
        .map(|point| point.map(|v| v + JITTER * random.normal()))
        .collect();
    let mut path = vec![points[0]];
    for i in 1..points.len() {
        let (from, to) = (points[i - 1], points[i]);
        let before = if i > 1 { points[i - 2] } else { from };
        let after = points.get(i + 1).copied().unwrap_or(to);
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            path.push([0, 1].map(|axis| {
                if stroke.bends {
                    catmull_rom([before[axis], from[axis], to[axis], after[axis]], t)
                } else {
                    from[axis] + t * (to[axis] - from[axis])
                }
            }));
        }
    }
    path
}

/// The cubic that passes `b` at t = 0 and `c` at t = 1, with slopes `(c - a) / 2` and `(d - b) / 2`.
fn catmull_rom([a, b, c, d]: [f32; 4], t: f32) -> f32 {
    let square = 2.0 * a - 5.0 * b + 4.0 * c - d;
    let cube = 3.0 * (b - c) + d - a;
    b + 0.5 * t * (c - a + t * (square + t * cube))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_pass_their_points_and_are_straight_if_those_are() {
        assert_eq!(catmull_rom([5.0, 1.0, 2.0, 9.0], 0.0), 1.0);
        assert_eq!(catmull_rom([5.0, 1.0, 2.0, 9.0], 1.0), 2.0);
        assert_eq!(catmull_rom([0.0, 1.0, 2.0, 3.0], 0.25), 1.25);
    }
}
