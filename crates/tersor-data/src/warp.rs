//! Random distortions of the plane: affine maps and smooth displacements.

use crate::random::Random;

/// How far affine maps may go; each parameter is drawn uniformly within plus and minus its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineRange {
    /// Rotation in degrees; at most 90.
    pub rotate_degrees: f32,
    /// Change of width and of height, each, as a fraction; below 1.
    pub scale_frac: f32,
    /// Horizontal shift per unit of height.
    pub shear_frac: f32,
    /// Shift in either direction, in pixels.
    pub shift_px: f32,
}

impl AffineRange {
    /// No distortion.
    pub const NONE: Self = Self {
        rotate_degrees: 0.0,
        scale_frac: 0.0,
        shear_frac: 0.0,
        shift_px: 0.0,
    };

    /// What helps most on MNIST: 10 degrees, 10 %, 0.1, one pixel.
    pub const DIGITS: Self = Self {
        rotate_degrees: 10.0,
        scale_frac: 0.1,
        shear_frac: 0.1,
        shift_px: 1.0,
    };
}

/// An affine map of points relative to a centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    /// Row by row.
    pub(crate) matrix: [f32; 4],
    pub(crate) shift: [f32; 2],
}

impl Affine {
    pub(crate) fn random(range: &AffineRange, random: &mut Random) -> Self {
        let [cos, sin] = rotation(random.symmetric(range.rotate_degrees));
        let [width, height] = [(); 2].map(|()| 1.0 + random.symmetric(range.scale_frac));
        let shear = random.symmetric(range.shear_frac);
        let shift = [(); 2].map(|()| random.symmetric(range.shift_px));
        // Shear, then scale, then rotate.
        let matrix = [
            cos * width,
            cos * width * shear - sin * height,
            sin * width,
            sin * width * shear + cos * height,
        ];
        Self { matrix, shift }
    }

    pub(crate) fn map(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d] = self.matrix;
        [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]]
    }
}

/// Cosine and sine, up to a rotation by 0.2 degrees at 45: rational in the angle, so the same on every machine.
fn rotation(degrees: f32) -> [f32; 2] {
    let half = degrees * (std::f32::consts::PI / 360.0);
    let tan = half * (1.0 + half * half / 3.0);
    let norm = 1.0 + tan * tan;
    [(1.0 - tan * tan) / norm, 2.0 * tan / norm]
}

/// A smooth random displacement of the unit square: normal at the points of a grid, smoothstep between them.
#[derive(Clone, Debug)]
pub(crate) struct Displacement([[[f32; 2]; GRID]; GRID]);

/// Points of the grid per side: one in 4.5 pixels of a digit.
const GRID: usize = 7;

impl Displacement {
    /// Each component at each point of the grid has deviation `sigma`.
    pub(crate) fn random(sigma: f32, random: &mut Random) -> Self {
        Self([(); GRID].map(|()| [(); GRID].map(|()| [(); 2].map(|()| sigma * random.normal()))))
    }

    /// The displacement at a point; that of the border for points beyond it.
    pub(crate) fn at(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (column, u) = cell(x);
        let (row, v) = cell(y);
        let [above, below] = [&self.0[row], &self.0[row + 1]];
        [0, 1].map(|axis| {
            let on = |row: &[[f32; 2]; GRID]| lerp(row[column][axis], row[column + 1][axis], u);
            lerp(on(above), on(below), v)
        })
    }
}

/// From `a` at t = 0 to `b` at t = 1, both exactly.
fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a * (1.0 - t) + b * t
}

/// The cell of the grid that a coordinate in `0..=1` lies in, and how far in it, smoothed.
fn cell(coordinate: f32) -> (usize, f32) {
    let position = coordinate.clamp(0.0, 1.0) * (GRID - 1) as f32;
    let cell = (position as usize).min(GRID - 2);
    let t = position - cell as f32;
    (cell, t * t * (3.0 - 2.0 * t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_is_the_identity() {
        let affine = Affine::random(&AffineRange::NONE, &mut Random::new(1));
        assert_eq!(affine.map([3.0, -4.5]), [3.0, -4.5]);
        assert_eq!(
            Displacement::random(0.0, &mut Random::new(1)).at([0.3, 0.8]),
            [0.0, 0.0]
        );
    }

    #[test]
    fn rotations_are_exact_rotations_by_nearly_the_angle() {
        for degrees in [-45.0_f32, -12.0, 0.5, 30.0, 45.0] {
            let [cos, sin] = rotation(degrees);
            assert!((cos * cos + sin * sin - 1.0).abs() < 1e-6);
            assert!((sin.atan2(cos).to_degrees() - degrees).abs() < 0.2, "{degrees}");
        }
    }

    #[test]
    fn a_displacement_is_its_grid_at_the_grid_and_between_neighbours_elsewhere() {
        let field = Displacement::random(1.0, &mut Random::new(5));
        let point = |column: usize, row: usize| field.at([column as f32 / 6.0, row as f32 / 6.0]);
        for (column, row) in [(0, 0), (6, 6), (6, 0)] {
            assert_eq!(
                point(column, row),
                field.0[row][column],
                "column {column}, row {row}"
            );
        }
        let [x, y] = field.at([2.5 / 6.0, 0.0]);
        let middle = [0, 1].map(|axis| lerp(field.0[0][2][axis], field.0[0][3][axis], 0.5));
        assert!((x - middle[0]).abs() < 1e-5 && (y - middle[1]).abs() < 1e-5); // smoothstep(1/2) = 1/2
        assert_eq!(field.at([-1.0, 7.0]), field.at([0.0, 1.0]));
    }
}
