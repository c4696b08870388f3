//! Sums over channels of images and affine functions of them, images side by side on all threads.
//!
//! A row is one channel of one image: its elements lie side by side. Sums of a row are taken in parts in single precision, those
//! of rows in double precision and in order, so that threads make no difference.

use rayon::prelude::*;

/// Parts of a sum, for the processor to add side by side.
const LANES: usize = 16;

/// The sum of `f` over two slices of one length.
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(&a, &b)| f(a, b)).sum();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest)
}

/// Extents of images: channels, and positions of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels {
    channels: usize,
    positions: usize,
}

impl Channels {
    /// Of images `[image, channel, y, x]`.
    pub(super) fn of([_, channels, height, width]: [usize; 4]) -> Self {
        Self {
            channels,
            positions: height * width,
        }
    }

    /// Elements of an image.
    fn image(self) -> usize {
        (self.channels * self.positions).max(1)
    }

    /// Elements of a row.
    pub(super) fn row(self) -> usize {
        self.positions.max(1)
    }

    /// Mean of each channel and of its squared distances from there, over all images and positions.
    pub(super) fn moments(self, images: &[f32]) -> Vec<[f64; 2]> {
        let n = self.row() as f64;
        // Of each row while it is near: no second pass over the images.
        let rows: Vec<Vec<[f64; 2]>> = images
            .par_chunks(self.image())
            .map(|image| {
                let rows = image.chunks(self.row()).map(|row| {
                    let mean = sum(row, row, |x, _| x) / n;
                    let around = mean as f32;
                    let squares = sum(row, row, |x, _| (x - around) * (x - around)) / n;
                    [mean, squares - (mean - f64::from(around)).powi(2)]
                });
                rows.collect()
            })
            .collect();
        let share = 1.0 / rows.len().max(1) as f64;
        let mut moments = vec![[0.0; 2]; self.channels];
        for image in &rows {
            for (moments, [mean, _]) in moments.iter_mut().zip(image) {
                moments[0] += mean * share;
            }
        }
        // The squares around a channel's mean: those around the rows' own, and the rows' around the channel's.
        for image in &rows {
            for (moments, [mean, squares]) in moments.iter_mut().zip(image) {
                moments[1] += (squares + (mean - moments[0]).powi(2)) * share;
            }
        }
        moments
    }

    /// The sums of `gradients` of each channel, and of `gradients * (images - means)`.
    pub(super) fn gradient_sums(self, means: &[f32], images: &[f32], gradients: &[f32]) -> Vec<[f64; 2]> {
        let rows: Vec<Vec<[f64; 2]>> = images
            .par_chunks(self.image())
            .zip(gradients.par_chunks(self.image()))
            .map(|(image, gradient)| {
                let rows = image.chunks(self.row()).zip(gradient.chunks(self.row()));
                let sums = rows.zip(means).map(|((x, g), &mean)| {
                    let plain = sum(g, g, |g, _| g);
                    [plain, sum(x, g, |x, g| (x - mean) * g)]
                });
                sums.collect()
            })
            .collect();
        let mut total = vec![[0.0; 2]; self.channels];
        for image in rows {
            for (total, sums) in total.iter_mut().zip(image) {
                *total = [total[0] + sums[0], total[1] + sums[1]];
            }
        }
        total
    }

    /// `x a + c` for every element of `images`, `[a, c]` those of its channel.
    pub(super) fn affine(self, images: &[f32], coefficients: &[[f32; 2]]) -> Vec<f32> {
        let mut result = vec![0.0; images.len()];
        let pairs = result.par_chunks_mut(self.image());
        pairs
            .zip(images.par_chunks(self.image()))
            .for_each(|(result, image)| {
                let rows = result.chunks_mut(self.row()).zip(image.chunks(self.row()));
                for ((result, x), [a, c]) in rows.zip(coefficients) {
                    for (y, x) in result.iter_mut().zip(x) {
                        *y = x * a + c;
                    }
                }
            });
        result
    }

    /// `x a + z b + c` for every element of `xs` and `zs`, `[a, b, c]` those of its channel.
    pub(super) fn affine_of_two(self, xs: &[f32], zs: &[f32], coefficients: &[[f32; 3]]) -> Vec<f32> {
        let mut result = vec![0.0; xs.len()];
        let triples = result
            .par_chunks_mut(self.image())
            .zip(xs.par_chunks(self.image()));
        triples
            .zip(zs.par_chunks(self.image()))
            .for_each(|((result, xs), zs)| {
                let rows = result.chunks_mut(self.row()).zip(xs.chunks(self.row()));
                for (((result, x), z), [a, b, c]) in rows.zip(zs.chunks(self.row())).zip(coefficients) {
                    for ((y, x), z) in result.iter_mut().zip(x).zip(z) {
                        *y = x * a + (z * b + c);
                    }
                }
            });
        result
    }
}
