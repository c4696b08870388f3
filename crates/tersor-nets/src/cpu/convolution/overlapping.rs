//! Products with matrices whose rows are pieces of one slice that overlap, with the widest instructions of the processor.
//!
//! Sums are arrays of vectors that loops over constants count through: so the compiler keeps them in registers. Iterators over
//! them leave them in memory, and so do closures, which know nothing of the instructions in use.

#![allow(
    clippy::needless_range_loop,
    clippy::manual_memcpy,
    reason = "iterators over sums of vectors leave these in memory"
)]
#![allow(
    clippy::inline_always,
    reason = "what is not inlined does not know the instructions in use"
)]

use pulp::{Arch, Simd, WithSimd};

/// Rows of the left factor that are multiplied at once on processors with at least 32 vector registers, and on others. Tiles of
/// these heights and of [`WIDTH`] vectors have been the fastest of those tried; their sums stay in registers.
const TALL: usize = 8;
const LOW: usize = 4;
const WIDTH: usize = 3;

/// A left factor `[row, k]` whose rows are set side by side by the tile.
pub(super) struct Tiles {
    values: Vec<f32>,
    rows: usize,
    height: usize,
}

impl Tiles {
    /// `value(row, k)` for `rows` and `n` columns.
    pub(super) fn new(rows: usize, n: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        struct Height;
        impl WithSimd for Height {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                if S::REGISTER_COUNT >= 32 { TALL } else { LOW }
            }
        }
        Self::of_height(Arch::new().dispatch(Height), rows, n, value)
    }

    fn of_height(height: usize, rows: usize, n: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let mut values = vec![0.0; rows.next_multiple_of(height) * n];
        for row in 0..rows {
            let tile = &mut values[row / height * height * n..];
            for k in 0..n {
                tile[k * height + row % height] = value(row, k);
            }
        }
        Self { values, rows, height }
    }
}

/// `products[row][i] = sum over k of tiles[row][k] source[offsets[k] + i]`, for as many `i` as a row of `products` has: a multiple
/// of 16.
pub(super) fn slide(tiles: &Tiles, offsets: &[usize], source: &[f32], products: &mut [f32]) {
    Arch::new().dispatch(Slide {
        tiles,
        offsets,
        source,
        products,
    });
}

struct Slide<'a> {
    tiles: &'a Tiles,
    offsets: &'a [usize],
    source: &'a [f32],
    products: &'a mut [f32],
}

impl WithSimd for Slide<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.tiles.height == TALL {
            self.run::<S, TALL>(simd);
        } else {
            self.run::<S, LOW>(simd);
        }
    }
}

impl Slide<'_> {
    #[inline(always)]
    fn run<S: Simd, const H: usize>(self, simd: S) {
        let len = self.products.len() / self.tiles.rows.max(1);
        if len == 0 || self.offsets.is_empty() {
            return;
        }
        let (tiles, _) = self.tiles.values.as_chunks::<H>();
        for at in (0..len).step_by(WIDTH * S::F32_LANES) {
            // A piece of the source is near while all rows are multiplied with it.
            let tiles = tiles.chunks_exact(self.offsets.len());
            for (tile, products) in tiles.zip(self.products.chunks_mut(H * len)) {
                match (len - at) / S::F32_LANES {
                    1 => slide_tile::<S, H, 1>(simd, tile, self.offsets, self.source, at, products, len),
                    2 => slide_tile::<S, H, 2>(simd, tile, self.offsets, self.source, at, products, len),
                    _ => slide_tile::<S, H, WIDTH>(simd, tile, self.offsets, self.source, at, products, len),
                }
            }
        }
    }
}

/// The first `N` vectors of a slice.
#[inline(always)]
fn vectors<S: Simd, const N: usize>(slice: &[f32]) -> &[S::f32s; N] {
    let (vectors, _) = S::as_simd_f32s(slice);
    let first = vectors.first_chunk();
    first.unwrap_or_else(|| unreachable!("a slice of {} elements is too short", slice.len()))
}

/// `H` rows and `N` vectors, from `at` on, of rows of `len` elements.
#[inline(always)]
fn slide_tile<S: Simd, const H: usize, const N: usize>(
    simd: S,
    tile: &[[f32; H]],
    offsets: &[usize],
    source: &[f32],
    at: usize,
    products: &mut [f32],
    len: usize,
) {
    let mut sums = [[simd.splat_f32s(0.0); N]; H];
    for (factors, offset) in tile.iter().zip(offsets) {
        let x = vectors::<S, N>(&source[offset + at..][..N * S::F32_LANES]);
        for h in 0..H {
            let factor = simd.splat_f32s(factors[h]);
            for n in 0..N {
                sums[h][n] = simd.mul_add_e_f32s(factor, x[n], sums[h][n]);
            }
        }
    }
    for (h, products) in products.chunks_mut(len).enumerate() {
        let (products, _) = S::as_mut_simd_f32s(&mut products[at..]);
        for n in 0..N {
            products[n] = sums[h][n];
        }
    }
}

/// `sums[row][k] = sum over images and i of lefts[image][row][i] rights[image][offsets[k] + i]`, for as many `i` as a row of `lefts`
/// has: `row_len`, a multiple of 16. `rights` are of `right_len` each.
pub(super) struct Correlation<'a> {
    pub(super) lefts: &'a [f32],
    pub(super) rows: usize,
    pub(super) row_len: usize,
    pub(super) rights: &'a [f32],
    pub(super) right_len: usize,
    pub(super) offsets: &'a [usize],
    pub(super) sums: &'a mut [f32],
}

impl Correlation<'_> {
    /// Computes the sums.
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Correlation<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.offsets.len();
        for row in (0..self.rows).step_by(LOW) {
            for k in (0..n).step_by(WIDTH) {
                // Behind the last ones they stand twice, and only the first is kept.
                let rows: [usize; LOW] = std::array::from_fn(|i| (row + i).min(self.rows - 1));
                let offsets: [usize; WIDTH] = std::array::from_fn(|i| self.offsets[(k + i).min(n - 1)]);
                let tile = self.tile(simd, rows, offsets);
                for (row, tile) in (row..self.rows).zip(&tile) {
                    for (to, sum) in self.sums[row * n + k..(row + 1) * n].iter_mut().zip(tile) {
                        *to = simd.reduce_sum_f32s(*sum);
                    }
                }
            }
        }
    }
}

impl Correlation<'_> {
    #[inline(always)]
    fn tile<S: Simd>(&self, simd: S, rows: [usize; LOW], offsets: [usize; WIDTH]) -> [[S::f32s; WIDTH]; LOW] {
        let len = self.row_len;
        let mut sums = [[simd.splat_f32s(0.0); WIDTH]; LOW];
        let images = self.lefts.chunks(self.rows * len);
        for (left, right) in images.zip(self.rights.chunks(self.right_len)) {
            let lefts: [&[f32]; LOW] = std::array::from_fn(|i| &left[rows[i] * len..][..len]);
            let rights: [&[f32]; WIDTH] = std::array::from_fn(|i| &right[offsets[i]..][..len]);
            for at in (0..len).step_by(S::F32_LANES) {
                let mut x = [simd.splat_f32s(0.0); WIDTH];
                for (x, right) in x.iter_mut().zip(&rights) {
                    *x = vectors::<S, 1>(&right[at..])[0];
                }
                for h in 0..LOW {
                    let g = vectors::<S, 1>(&lefts[h][at..])[0];
                    for n in 0..WIDTH {
                        sums[h][n] = simd.mul_add_e_f32s(g, x[n], sums[h][n]);
                    }
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_both_heights_give_the_sums_of_their_definition() {
        let (rows, len, offsets) = (11, 48, [0, 3, 70, 1]);
        let source: Vec<f32> = (0..128).map(|i| (i * 37 % 17) as f32 - 8.0).collect();
        let factor = |row: usize, k: usize| (row * 5 + k * 3) as f32 % 7.0 - 3.0;
        for height in [LOW, TALL] {
            let tiles = Tiles::of_height(height, rows, offsets.len(), factor);
            let mut products = vec![9.0; rows * len];
            slide(&tiles, &offsets, &source, &mut products);
            for (i, product) in products.iter().enumerate() {
                let (row, at) = (i / len, i % len);
                let terms = offsets.iter().enumerate();
                let sum: f32 = terms
                    .map(|(k, offset)| factor(row, k) * source[offset + at])
                    .sum();
                assert_eq!(*product, sum, "row {row}, element {at}");
            }
        }
    }

    #[test]
    fn correlations_are_the_sums_of_their_definition() {
        let (rows, row_len, right_len, offsets) = (5, 32, 60, [0, 7, 20, 2]);
        let lefts: Vec<f32> = (0..3 * rows * row_len)
            .map(|i| (i * 29 % 13) as f32 - 6.0)
            .collect();
        let rights: Vec<f32> = (0..3 * right_len).map(|i| (i * 31 % 11) as f32 - 5.0).collect();
        let mut sums = vec![9.0; rows * offsets.len()];
        let correlation = Correlation {
            lefts: &lefts,
            rows,
            row_len,
            rights: &rights,
            right_len,
            offsets: &offsets,
            sums: &mut sums,
        };
        correlation.run();
        for (i, sum) in sums.iter().enumerate() {
            let (row, offset) = (i / offsets.len(), offsets[i % offsets.len()]);
            let terms = (0..3 * row_len).map(|j| (j / row_len, j % row_len));
            let terms = terms.map(|(image, at)| {
                lefts[(image * rows + row) * row_len + at] * rights[image * right_len + offset + at]
            });
            assert_eq!(*sum, terms.sum::<f32>(), "row {row}, offset {offset}");
        }
    }
}
