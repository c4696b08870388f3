//! Drawing strokes as a pen does.

use super::SIDE;
use crate::random::Random;

/// The pen of one image.
struct Pen {
    /// Half the width of a stroke, in pixels.
    radius: f32,
    /// Pixels from full ink to none at the edge of a stroke.
    softness: f32,
    /// Value of full ink.
    ink: f32,
    /// Deviation of the noise on every pixel.
    noise: f32,
}

/// A piece of a stroke is left out with this probability, once per stroke.
const GAP_CHANCE: f32 = 0.15;
/// How much the width changes along a stroke, at most: a fraction either way.
const PRESSURE: f32 = 0.35;

impl Pen {
    fn random(random: &mut Random) -> Self {
        Self {
            radius: random.between(0.7, 1.9),
            softness: random.between(0.8, 2.0),
            ink: random.between(150.0, 255.0),
            noise: random.between(0.0, 20.0),
        }
    }
}

/// Draws polylines, in pixels, into an image of `SIDE` x `SIDE`.
pub(super) fn draw(strokes: &[Vec<[f32; 2]>], random: &mut Random, image: &mut [u8]) {
    let pen = Pen::random(random);
    let mut coverage = [0.0; SIDE * SIDE];
    for path in strokes {
        let n = path.len().max(2) - 1;
        let [start, end] = [(); 2].map(|()| pen.radius * (1.0 + random.symmetric(PRESSURE)));
        let gap = gap(n, random);
        for (i, piece) in path.windows(2).enumerate().filter(|(i, _)| !gap.contains(i)) {
            let radii = [i, i + 1].map(|i| start + (end - start) * i as f32 / n as f32);
            cover([piece[0], piece[1]], radii, pen.softness, &mut coverage);
        }
    }
    for (pixel, coverage) in image.iter_mut().zip(coverage) {
        *pixel = (coverage * pen.ink + pen.noise * random.normal())
            .clamp(0.0, 255.0)
            .round() as u8;
    }
}

/// Which of `n` pieces the pen skips.
fn gap(n: usize, random: &mut Random) -> std::ops::Range<usize> {
    if !random.chance(GAP_CHANCE) {
        return 0..0;
    }
    let start = random.below(n);
    start..start + 1 + n / 16
}

/// Raises the coverage around one piece, from 0 to 1 by the distance to it.
fn cover([from, to]: [[f32; 2]; 2], radii: [f32; 2], softness: f32, coverage: &mut [f32; SIDE * SIDE]) {
    let reach = radii[0].max(radii[1]) + softness / 2.0;
    let [columns, rows] = [0, 1].map(|axis| {
        let (low, high) = (from[axis].min(to[axis]) - reach, from[axis].max(to[axis]) + reach);
        // Conversion saturates: what lies left of 0 starts at 0.
        (low.ceil() as usize)..((high.floor() + 1.0) as usize).min(SIDE)
    });
    let along = [to[0] - from[0], to[1] - from[1]];
    let norm = along[0] * along[0] + along[1] * along[1];
    for y in rows {
        for x in columns.clone() {
            let [dx, dy] = [x as f32 - from[0], y as f32 - from[1]];
            let t = if norm > 0.0 {
                ((dx * along[0] + dy * along[1]) / norm).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let [dx, dy] = [dx - t * along[0], dy - t * along[1]];
            let radius = radii[0] + t * (radii[1] - radii[0]);
            let inside = (radius - (dx * dx + dy * dy).sqrt()) / softness + 0.5;
            let pixel = &mut coverage[y * SIDE + x];
            *pixel = inside.clamp(0.0, 1.0).max(*pixel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_falls_from_one_to_zero_across_the_edge() {
        let mut coverage = [0.0; SIDE * SIDE];
        cover([[5.0, 10.0], [20.0, 10.0]], [2.0, 2.0], 2.0, &mut coverage);
        let column: Vec<f32> = (10..14).map(|y| coverage[y * SIDE + 12]).collect();
        assert_eq!(column, [1.0, 1.0, 0.5, 0.0]);
        assert_eq!(coverage[10 * SIDE + 22], 0.5); // the end is round
    }

    #[test]
    fn strokes_outside_the_image_leave_no_ink() {
        let mut coverage = [0.0; SIDE * SIDE];
        cover([[-20.0, -20.0], [-10.0, 60.0]], [2.0, 2.0], 1.0, &mut coverage);
        cover([[60.0, 60.0], [f32::NAN, 10.0]], [2.0, 2.0], 1.0, &mut coverage);
        assert!(coverage.iter().all(|&value| value == 0.0));
    }
}
