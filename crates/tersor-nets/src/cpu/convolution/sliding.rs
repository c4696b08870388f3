//! Convolutions whose kernel moves by one position at a time. Padded images (`planes.rs`) are multiplied as they are
//! (`overlapping.rs`): nothing is copied for each offset of the kernel.

use super::kernel::{IMAGES_PER_SUM, total};
use super::overlapping::{Correlation, Tiles, slide};
use super::patches::Geometry;
use super::planes::Planes;
use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Padded images and wide outputs: kept, because memory that is asked for anew has to be cleared by the system.
    static SCRATCH: Cell<[Vec<f32>; 2]> = const { Cell::new([const { Vec::new() }; 2]) };
}

/// Gives `f` two pieces of memory with whatever was left there.
fn with_scratch<T>(lens: [usize; 2], f: impl FnOnce(&mut [f32], &mut [f32]) -> T) -> T {
    let mut scratch = SCRATCH.take();
    for (buffer, len) in scratch.iter_mut().zip(lens) {
        if buffer.len() < len {
            buffer.resize(len, 0.0);
        }
    }
    let [a, b] = &mut scratch;
    let result = f(&mut a[..lens[0]], &mut b[..lens[1]]);
    SCRATCH.set(scratch);
    result
}

/// A convolution that moves by one position.
pub(super) struct Sliding {
    geometry: Geometry,
    planes: Planes,
}

impl Sliding {
    /// `None` if it moves further, or pads so much that the kernel lies on nothing but zeros.
    pub(super) fn new(geometry: &Geometry) -> Option<Self> {
        let conv = geometry.conv;
        let fits = conv.stride == 1 && conv.padding < conv.kernel && geometry.input_len() > 0;
        fits.then(|| Self {
            geometry: *geometry,
            planes: Planes::new(conv.inputs, geometry.input(), conv.padding, conv.kernel),
        })
    }

    pub(super) fn forward(&self, images: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let n = self.geometry.patch_len();
        let outputs = self.geometry.conv.outputs;
        let tiles = Tiles::new(outputs, n, |row, k| weight[row * n + k]);
        let mut result = slide_all(&self.planes, &tiles, outputs, images, self.geometry.output_len());
        if let Some(bias) = bias {
            let images = result.par_chunks_mut(self.geometry.output_len().max(1));
            images.for_each(|image| {
                let channels = image.chunks_mut(self.geometry.positions().max(1)).zip(bias);
                channels.for_each(|(channel, bias)| channel.iter_mut().for_each(|y| *y += bias));
            });
        }
        result
    }

    /// The gradients slide under the kernel turned around.
    pub(super) fn image_gradient(&self, weight: &[f32], gradients: &[f32]) -> Vec<f32> {
        let conv = self.geometry.conv;
        let area = conv.kernel * conv.kernel;
        let tiles = Tiles::new(conv.inputs, conv.outputs * area, |input, k| {
            let (output, offset) = (k / area, k % area);
            weight[(output * conv.inputs + input) * area + area - 1 - offset]
        });
        let padding = conv.kernel - 1 - conv.padding;
        let planes = Planes::new(conv.outputs, self.geometry.output(), padding, conv.kernel);
        slide_all(&planes, &tiles, conv.inputs, gradients, self.geometry.input_len())
    }

    pub(super) fn weight_gradient(&self, images: &[f32], gradients: &[f32]) -> Vec<f32> {
        let (input_len, output_len) = (self.geometry.input_len(), self.geometry.output_len());
        let (rows, offsets) = (self.geometry.conv.outputs, self.planes.offsets());
        let (row_len, right_len) = (self.planes.outputs(), self.planes.len());
        let parts = images.par_chunks(IMAGES_PER_SUM * input_len);
        let sums = parts.zip(gradients.par_chunks(IMAGES_PER_SUM * output_len.max(1)));
        let sums = sums.map(|(images, gradients)| {
            let mut sums = vec![0.0; rows * offsets.len()];
            let n = images.len() / input_len;
            with_scratch([n * right_len, n * rows * row_len], |rights, lefts| {
                for (image, padded) in images.chunks(input_len).zip(rights.chunks_mut(right_len)) {
                    self.planes.pad(image, padded);
                }
                for (gradient, wide) in gradients.chunks(output_len).zip(lefts.chunks_mut(rows * row_len)) {
                    self.planes.spread(gradient, wide);
                }
                let correlation = Correlation {
                    lefts,
                    rows,
                    row_len,
                    rights,
                    right_len,
                    offsets: &offsets,
                    sums: &mut sums,
                };
                correlation.run();
            });
            sums
        });
        total(sums.collect(), rows * offsets.len())
    }
}

/// Slides all images, `[channel, y, x]` as `planes` says, under tiles of `rows` kernels: `[row, y, x]` of `output_len` elements each.
fn slide_all(planes: &Planes, tiles: &Tiles, rows: usize, images: &[f32], output_len: usize) -> Vec<f32> {
    let image_len = planes.image_len();
    let offsets = planes.offsets();
    let mut result = vec![0.0; images.len() / image_len * output_len];
    let pairs = result
        .par_chunks_mut(output_len.max(1))
        .zip(images.par_chunks(image_len));
    pairs.for_each(|(result, image)| {
        with_scratch([planes.len(), rows * planes.outputs()], |padded, wide| {
            planes.pad(image, padded);
            slide(tiles, &offsets, padded, wide);
            planes.gather(wide, result);
        });
    });
    result
}
