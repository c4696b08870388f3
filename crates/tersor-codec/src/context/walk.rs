//! A walk over the elements of a segment: what is known of each before it is coded.

use super::counter::rate;
use super::logistic::{exp2, log2};
use super::mixer::Mixer;
use super::neighbours::{AROUND, BEFORE, LEFT, Near, SIGNS, Tap, of_left, of_others, part};
use super::segment::Extent;
use super::shape::{Kind, Shape};

/// A magnitude of 1 in the units of means.
pub(super) const UNIT: u32 = 1 << 16;
/// Means are taken for a little more, so that their logarithms have a bound: 2^-12.
pub(super) const LEAST: u32 = 16;
/// Largest magnitude that statistics see.
pub(super) const MAX_MAGNITUDE: u32 = 255;
/// Sum of magnitudes that rows, and columns, are taken to have had before the first.
const ROW_PRIOR: u64 = 2 << 16;
const COLUMN_PRIOR: u32 = 2 << 16;
/// Counts of rows between which columns weigh a new one.
const COLUMN_COUNTS: [u32; 2] = [2, 4000];
/// Count of rows at which columns stop to slow down, unless they begin slower.
const COLUMN_COUNT: u32 = 150;

/// Features of the expected magnitude: row, column and neighbours against the tensor, and 1.
const N_FEATURES: usize = 4;
/// Classes of the expected magnitude: quarters of octaves.
pub(super) const N_SCALES: usize = 64;
/// Contexts: of the expected magnitude, of what is before in matrices and in kernels, of what is around in kernels of up to 32 taps and in
/// matrices, and of the signs around, of either.
pub(super) const N_EXPECTED: usize = Kind::COUNT * N_SCALES;
pub(super) const N_BEFORE: usize = 2 * 256;
const N_IN_KERNELS: usize = 32 * 16;
pub(super) const N_AROUND: usize = N_IN_KERNELS + 81;
pub(super) const N_AROUND_SIGNS: usize = 81;
/// log2 of the least expected magnitude, in the units of means.
const LEAST_SCALE: i32 = 6 << 8;
/// Rate of learning of the expected magnitude, as a shift, and the largest error that it learns from: 1.
const SCALE_SHIFT: u32 = 9;
const MAX_ERROR: i64 = 256;

/// 2^32 over one more than the magnitude in the middle of a class of expected magnitudes.
static GAINS: [u32; N_SCALES] = {
    let mut gains = [0; N_SCALES];
    let mut scale = 0;
    while scale < N_SCALES {
        let middle = exp2(LEAST_SCALE as u32 + 64 * scale as u32 + 32);
        gains[scale] = ((1u64 << 32) / (middle as u64 + UNIT as u64)) as u32;
        scale += 1;
    }
    gains
};

/// What is known of an element before it is coded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) kind: Kind,
    /// Class of the expected magnitude.
    pub(super) scale: usize,
    /// Set of weights for magnitudes.
    pub(super) weights: usize,
    /// Contexts of magnitudes.
    pub(super) contexts: [usize; 3],
    /// Row and column against the tensor, in octaves.
    pub(super) inputs: [i32; 2],
    /// Context of the sign: four neighbours' signs.
    pub(super) signs: usize,
    /// Set of weights for signs.
    pub(super) tap: usize,
    /// What a sign is likely to follow: the neighbours to the left, above and above that.
    pub(super) signed: [i8; 3],
    /// The sum of the distances in the kernel so far, which a sign is likely to follow too.
    pub(super) kernel_signed: i32,
    log_scale: i32,
    features: [i32; N_FEATURES],
}

/// What is known of an element already while the one to its left is being coded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    tap: Tap,
    /// The neighbours above and two above.
    up: i8,
    up2: i8,
    /// What the neighbours say, but for the one to the left.
    sum: u32,
    /// Mean magnitude of the column against the tensor's, in octaves.
    column: i32,
}

/// What one tensor hands to the next.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    /// From features to the expected magnitude, per kind.
    units: [Mixer<N_FEATURES>; Kind::COUNT],
    /// Mean magnitude of each row of the last tensor that had rows.
    rows: Vec<u32>,
}

impl Statistics {
    pub(super) fn new() -> Self {
        Self {
            units: [Mixer([20_000, 24_000, 8_000, 0]); Kind::COUNT],
            rows: Vec::new(),
        }
    }
}

/// Position in a segment, with statistics of its rows and columns.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    shape: Shape,
    /// Distances within a byte, after a margin of zeros.
    history: Vec<i8>,
    /// Where the first distance goes in the history, and the next one.
    margin: usize,
    here: usize,
    /// The last distance within a byte.
    last: i8,
    /// How far back the neighbours above and two above are.
    line: usize,
    two_lines: usize,
    /// Whether the last element is a neighbour above, or of the same column.
    is_narrow: bool,
    taps: Vec<Tap>,
    near: Near,
    /// Place in the kernel.
    tap: usize,
    /// Mean magnitude per column, counted from where the walk began.
    columns: Vec<u32>,
    column: usize,
    /// How many rows columns are taken to have had before the first, and how far the next one moves them.
    column_prior: u32,
    column_rate: u32,
    /// Logarithm of the mean magnitude of all elements.
    log_tensor: i32,
    /// Logarithm of the magnitudes of the row over those that its columns let expect, at the start of the kernel.
    row: i32,
    /// Sums of magnitudes and of distances in the kernel so far.
    kernel_sum: u32,
    kernel_signed: i32,
    n_rows: u32,
    /// Sum of magnitudes in the row so far, and of the means of its columns up to the kernel and within it.
    row_sum: u64,
    row_expected: u64,
    kernel_expected: u64,
    /// Mean magnitude of each row.
    rows: Vec<u32>,
}

impl Walk {
    /// A walk over the elements, at least one, of a segment, whose mean magnitude is known, in units of 2^-16.
    pub(super) fn new(extent: Extent<'_>, shape: Shape, mean: u32, statistics: &Statistics) -> Self {
        let Extent { first, n, .. } = extent;
        let line = if shape.kind == Kind::Kernels {
            shape.width
        } else {
            shape.n_columns
        };
        // What lies before the segment is zero.
        let two_lines = line.saturating_mul(2).min(n + 1);
        let line = line.min(n + 1);
        let margin = two_lines.max(line + 1);
        let tap = (first % shape.n_taps as u64) as usize;
        let taps = if shape.kind == Kind::Kernels {
            let n_taps = shape.n_taps.min(tap + n);
            (0..n_taps).map(|tap| Tap::in_kernel(tap, shape.width)).collect()
        } else {
            vec![Tap::IN_MATRIX]
        };
        let column_prior = (COLUMN_PRIOR / (mean + LEAST)).clamp(COLUMN_COUNTS[0], COLUMN_COUNTS[1]);
        Self {
            shape,
            history: vec![0; margin + n],
            margin,
            here: margin,
            last: 0,
            line,
            two_lines,
            is_narrow: line < 3 || shape.n_columns < 2,
            near: Near::new(&taps, mean),
            taps,
            tap,
            columns: columns(shape, n, mean, &statistics.rows),
            column: 0,
            column_prior,
            column_rate: rate(column_prior),
            log_tensor: log2(mean + LEAST),
            row: 0,
            kernel_sum: 0,
            kernel_signed: 0,
            n_rows: 0,
            row_sum: 0,
            row_expected: 0,
            kernel_expected: 0,
            rows: Vec::new(),
        }
    }

    /// How many elements it has passed.
    pub(super) fn n_coded(&self) -> u64 {
        (self.here - self.margin) as u64
    }

    pub(super) fn kind(&self) -> Kind {
        self.shape.kind
    }

    /// What is already known of the next element, or, if `skip` is 1, of the one after it.
    #[inline(always)]
    pub(super) fn ahead(&self, skip: usize) -> Ahead {
        let wrap = |i: usize, n: usize| if i < n { i } else { 0 };
        let tap = wrap(self.tap + skip, self.shape.n_taps);
        let tap = self.taps.get(tap).copied().unwrap_or_default();
        let here = self.here + skip;
        let above = here.wrapping_sub(self.line);
        let [up_left, up, up_right] = chunk(&self.history, above.wrapping_sub(1));
        // In a line of one element the one to the right above is not there yet: the one above stands for it.
        let up_right = if self.line == 1 { up } else { up_right };
        let [up2] = chunk(&self.history, here.wrapping_sub(self.two_lines));
        let [left2] = chunk(&self.history, here.wrapping_sub(2));
        let [_, masks @ ..] = tap.masks;
        let mut others = [up, up_left, up_right, up2, left2];
        others.iter_mut().zip(masks).for_each(|(v, mask)| *v &= mask);
        let [up, _, _, up2, _] = others;
        let column = wrap(self.column + skip, self.shape.n_columns);
        let column = self.columns.get(column).copied().unwrap_or(0);
        Ahead {
            tap,
            up,
            up2,
            sum: of_others(others),
            column: log2(column + LEAST) - self.log_tensor,
        }
    }

    /// What is known of the next element.
    #[inline(always)]
    pub(super) fn site(&self, statistics: &Statistics, ahead: Ahead) -> Site {
        let ahead = if self.is_narrow { self.ahead(0) } else { ahead };
        let Ahead {
            tap, up, up2, column, ..
        } = ahead;
        let left = self.last & tap.masks[LEFT];
        let sum = ahead.sum + of_left(left);

        let tensor = self.log_tensor;
        let row = self.row;
        let near = self.near.log(tap, sum);
        let features = [row, column, near, 256];
        let kind = self.shape.kind;
        let expected = tensor + statistics.units[kind as usize].mix(&features);
        let log_scale = expected.clamp(LEAST_SCALE, LEAST_SCALE + (N_SCALES << 6) as i32 - 1);
        let scale = (log_scale - LEAST_SCALE) as usize >> 6;
        let weights = if tensor < 14 << 8 {
            usize::from(row > -256) * 2 + usize::from(column > -256)
        } else {
            4 + (scale.saturating_sub(24) >> 2).min(3)
        };

        let tap = self.tap.min(31);
        let kernels = kind == Kind::Kernels;
        let inside = if kernels {
            tap * 16 + self.kernel_sum.min(15) as usize
        } else {
            N_IN_KERNELS + part(sum, AROUND) as usize
        };
        Site {
            kind,
            scale,
            weights,
            contexts: [
                kind as usize * N_SCALES + scale,
                usize::from(kernels) * 256 + (scale >> 2) * 16 + part(sum, BEFORE) as usize,
                inside,
            ],
            inputs: [row, column],
            signs: usize::from(kernels) * N_AROUND_SIGNS + part(sum, SIGNS) as usize,
            tap,
            signed: [left, up, up2],
            kernel_signed: self.kernel_signed,
            log_scale,
            features,
        }
    }

    /// Goes on to the element after the one at `site`, which has this distance.
    #[inline(always)]
    pub(super) fn push(&mut self, statistics: &mut Statistics, site: &Site, distance: i32) {
        let magnitude = distance.unsigned_abs().min(MAX_MAGNITUDE);
        let within = distance.clamp(-127, 127);
        if let Some(slot) = self.history.get_mut(self.here) {
            *slot = within as i8;
        }
        self.last = within as i8;
        self.here += 1;

        let expected = exp2(site.log_scale as u32);
        let gain = GAINS.get(site.scale).copied().unwrap_or_default();
        let error = ((i64::from(magnitude * UNIT) - i64::from(expected)) * i64::from(gain)) >> 24;
        let error = error.clamp(-MAX_ERROR, MAX_ERROR) as i32;
        statistics.units[site.kind as usize].learn(&site.features, error, SCALE_SHIFT);
        if let Some(mean) = self.columns.get_mut(self.column) {
            self.kernel_expected += u64::from(*mean);
            follow(mean, magnitude * UNIT, self.column_rate);
        }
        self.kernel_sum += magnitude;
        self.kernel_signed += within;
        self.tap += 1;
        if self.tap >= self.shape.n_taps {
            self.end_kernel();
        }
        self.column += 1;
        if self.column >= self.shape.n_columns {
            self.end_row();
        }
    }

    #[inline(always)]
    fn end_kernel(&mut self) {
        self.tap = 0;
        self.row_sum += u64::from(self.kernel_sum);
        self.row_expected += self.kernel_expected;
        self.kernel_expected = 0;
        self.kernel_sum = 0;
        self.kernel_signed = 0;
        let log = |sum: u64| log2(((sum + ROW_PRIOR) >> 8).min(u32::MAX.into()) as u32);
        self.row = log(self.row_sum << 16) - log(self.row_expected);
    }

    fn end_row(&mut self) {
        self.column = 0;
        self.n_rows += 1;
        let count = self.n_rows.saturating_add(self.column_prior);
        self.column_rate = rate(count.min(COLUMN_COUNT.max(self.column_prior)));
        self.rows
            .push(((self.row_sum << 16) / self.shape.n_columns as u64) as u32);
        self.row_sum = 0;
        self.row_expected = 0;
        self.row = 0;
    }

    /// Hands on what the next tensor starts from.
    pub(super) fn finish(self, statistics: &mut Statistics) {
        if self.shape.kind != Kind::Vector {
            statistics.rows = self.rows;
        }
    }
}

/// Means that columns start from: that of the tensor, or, where a tensor has a channel for every row of the one before, shared out
/// as the means of those rows are: what a unit gives and what is made of it go together.
fn columns(shape: Shape, n: usize, mean: u32, rows: &[u32]) -> Vec<u32> {
    let n_channels = shape.n_columns / shape.n_taps;
    let a_channel_each = !rows.is_empty() && n_channels.is_multiple_of(rows.len());
    if shape.kind == Kind::Vector || n < shape.n_columns || !a_channel_each {
        return vec![mean; shape.n_columns.min(n)];
    }
    let per_row = shape.n_columns / rows.len();
    let sum: u64 = rows.iter().map(|&r| u64::from(r)).sum();
    let of_rows = sum / rows.len() as u64 + 1;
    let share = |&row: &u32| u64::from(mean) * u64::from(row) / of_rows;
    let share = |row: &u32| share(row).min(u64::from(MAX_MAGNITUDE * UNIT)) as u32;
    rows.iter()
        .flat_map(|row| std::iter::repeat_n(share(row), per_row))
        .collect()
}

/// Distances from a place in the history; zeros where it ends before.
#[inline(always)]
fn chunk<const N: usize>(history: &[i8], at: usize) -> [i8; N] {
    let chunk = history.get(at..).and_then(|h| h.first_chunk());
    chunk.copied().unwrap_or([0; N])
}

/// Moves a mean towards a value by `rate` x 2^-16 of their difference.
#[inline]
fn follow(mean: &mut u32, value: u32, rate: u32) {
    let step = ((i64::from(value) - i64::from(*mean)) * i64::from(rate)) >> 16;
    *mean = (i64::from(*mean) + step) as u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The neighbours of an element as `docs/format.md` has them.
    fn neighbours(before: &[i8], line: usize, tap: &Tap) -> [i8; 6] {
        let back = [1, line, line + 1, (line - 1).max(1), 2 * line, 2];
        let mut found = back.map(|n| before.len().checked_sub(n).map_or(0, |at| before[at]));
        found.iter_mut().zip(tap.masks).for_each(|(v, mask)| *v &= mask);
        found
    }

    /// What is worked out ahead is what is known when an element's turn comes, whatever the shape.
    #[test]
    fn sites_are_those_of_the_neighbours() {
        let shapes: [&[u64]; 14] = [
            &[40],
            &[40, 1],
            &[20, 2],
            &[14, 3],
            &[9, 5],
            &[2, 60],
            &[9, 4, 1, 1],
            &[6, 1, 3],
            &[5, 2, 1, 2],
            &[7, 3, 2, 1],
            &[5, 2, 2, 2],
            &[4, 1, 3, 3],
            &[3, 2, 2, 5],
            &[2, 2, 40],
        ];
        for extents in shapes {
            let all: u64 = extents.iter().product();
            for (first, n) in [(0, all), (0, 1), (0, 2), (1, all - 1), (5, all / 2), (7, 3)] {
                check(extents, first, n as usize);
            }
        }
    }

    fn check(extents: &[u64], first: u64, n: usize) {
        let extent = Extent {
            shape: extents,
            first,
            n,
            n_levels: 9,
            zero: Some(4),
        };
        let shape = Shape::new(extents);
        let is_kernels = shape.kind == Kind::Kernels;
        let line = if is_kernels { shape.width } else { shape.n_columns };
        let mut statistics = Statistics::new();
        let mut walk = Walk::new(extent, shape, UNIT, &statistics);
        let (mut before, mut state) = (Vec::new(), 0x9e37_79b9_7f4a_7c15u64 ^ first);
        let mut ahead = walk.ahead(0);
        for at in 0..n {
            let site = walk.site(&statistics, ahead);
            let column = walk.columns[walk.column];
            ahead = walk.ahead(1);
            let tap = if is_kernels {
                Tap::in_kernel((first as usize + at) % shape.n_taps, shape.width)
            } else {
                Tap::IN_MATRIX
            };
            let [left, others @ ..] = neighbours(&before, line, &tap);
            let sum = of_left(left) + of_others(others);
            let what = format!("{extents:?} from {first}, element {at}");
            assert_eq!(site.signed, [left, others[0], others[3]], "{what}");
            let kernels = usize::from(is_kernels);
            assert_eq!(site.signs, kernels * 81 + part(sum, SIGNS) as usize, "{what}");
            assert_eq!(site.contexts[1] % 16, part(sum, BEFORE) as usize, "{what}");
            assert_eq!(site.inputs[1], log2(column + LEAST) - walk.log_tensor, "{what}");
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let distance = (state >> 60) as i32 - 7;
            walk.push(&mut statistics, &site, distance);
            before.push(distance as i8);
        }
    }
}
