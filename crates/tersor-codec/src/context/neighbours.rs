//! The neighbours of an element, and what they say together.

use super::logistic::log2;
use super::walk::{LEAST, UNIT};

/// Largest magnitude of a neighbour.
const MAX_NEIGHBOUR: u32 = 32;

/// Neighbours: to the left, above, above to the left and to the right, two above, two to the left.
pub(super) const N_NEIGHBOURS: usize = 6;
pub(super) const LEFT: usize = 0;

/// What each neighbour adds to four numbers: the sum of magnitudes nearby; the contexts of those before and of those around, digits
/// of 0 to 2; the context of the signs.
const WEIGHTS: [[u32; 4]; N_NEIGHBOURS] = [
    [2, 3, 0, 27],
    [2, 1, 0, 9],
    [1, 0, 27, 3],
    [1, 0, 9, 1],
    [0, 0, 1, 0],
    [0, 0, 3, 0],
];

/// Where a number is in a sum, and how many bits of it it takes.
type Field = (u32, u32);
const NEAR: Field = (0, 8);
pub(super) const BEFORE: Field = (8, 4);
pub(super) const AROUND: Field = (12, 8);
pub(super) const SIGNS: Field = (20, 8);

/// The parts of the sum, by neighbour and by its distance as a byte.
static PARTS: [[u32; 256]; N_NEIGHBOURS] = {
    let mut parts = [[0; 256]; N_NEIGHBOURS];
    let mut i = 0;
    while i < 256 * N_NEIGHBOURS {
        let (neighbour, byte) = (i / 256, i % 256);
        let distance = byte as u8 as i8;
        let magnitude = distance.unsigned_abs() as u32;
        let size = if magnitude < MAX_NEIGHBOUR {
            magnitude
        } else {
            MAX_NEIGHBOUR
        };
        let digit = if magnitude < 2 { magnitude } else { 2 };
        let sign = (distance.signum() + 1) as u32;
        let [near, before, around, signs] = WEIGHTS[neighbour];
        parts[neighbour][byte] = (near * size) << NEAR.0
            | (before * digit) << BEFORE.0
            | (around * digit) << AROUND.0
            | (signs * sign) << SIGNS.0;
        i += 1;
    }
    parts
};

/// What the neighbours but the one to the left say, at these distances.
#[inline(always)]
pub(super) fn of_others(distances: [i8; N_NEIGHBOURS - 1]) -> u32 {
    let [_, others @ ..] = &PARTS;
    let parts = distances.iter().zip(others);
    parts.map(|(&v, parts)| parts[usize::from(v as u8)]).sum()
}

/// What the neighbour to the left says.
#[inline(always)]
pub(super) fn of_left(distance: i8) -> u32 {
    PARTS[LEFT][usize::from(distance as u8)]
}

/// One number of a sum.
#[inline(always)]
pub(super) fn part(sum: u32, (first, n): Field) -> u32 {
    sum >> first & ((1 << n) - 1)
}

/// What the nearest neighbours are taken to weigh where there are none, and what they weigh where there are all.
const NO_NEIGHBOURS: usize = 2;
const MAX_WEIGHT: usize = NO_NEIGHBOURS + 6;
/// Weighted sums of the nearest neighbours' magnitudes.
const N_SUMS: usize = 1 << NEAR.1;

/// Logarithms of the mean magnitude nearby over a tensor's, by the neighbours' weight and their sum.
#[derive(Clone, Debug)]
pub(super) struct Near {
    logs: Vec<i32>,
    least_weight: usize,
}

impl Near {
    /// Logarithms for the taps of a tensor of a mean magnitude.
    pub(super) fn new(taps: &[Tap], mean: u32) -> Self {
        let least_weight = taps.iter().map(|tap| tap.weight).min().unwrap_or(MAX_WEIGHT);
        let log = |weight: usize, sum: usize| {
            let near = sum as u32 * (UNIT / weight as u32);
            log2(near + mean / 4 + LEAST) - log2(mean + LEAST)
        };
        let logs =
            (least_weight..=MAX_WEIGHT).flat_map(|weight| (0..N_SUMS).map(move |sum| log(weight, sum)));
        Self {
            logs: logs.collect(),
            least_weight,
        }
    }

    /// That of a sum of neighbours at a tap.
    #[inline(always)]
    pub(super) fn log(&self, tap: Tap, sum: u32) -> i32 {
        let row = tap.weight.saturating_sub(self.least_weight);
        let log = self.logs.get(row * N_SUMS + part(sum, NEAR) as usize);
        log.copied().unwrap_or(0)
    }
}

/// Where the neighbours of one tap are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tap {
    /// All ones for a neighbour that there is, else zero.
    pub(super) masks: [i8; N_NEIGHBOURS],
    /// Weights of the nearest neighbours that there are, and [`NO_NEIGHBOURS`].
    pub(super) weight: usize,
}

impl Tap {
    pub(super) fn in_kernel(tap: usize, width: usize) -> Self {
        let (x, y) = (tap % width, tap / width);
        let right = x + 1 < width;
        let there = [x > 0, y > 0, x > 0 && y > 0, y > 0 && right, y > 1, x > 1];
        let [left, up, up_left, up_right, ..] = there.map(usize::from);
        Self {
            masks: there.map(|t| -i8::from(t)),
            weight: 2 * left + 2 * up + up_left + up_right + NO_NEIGHBOURS,
        }
    }

    pub(super) const IN_MATRIX: Self = Self {
        masks: [-1; N_NEIGHBOURS],
        weight: MAX_WEIGHT,
    };
}
