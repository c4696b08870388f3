//! Patches of an image as the columns of a matrix, and back.

use crate::graph::Conv;
use std::ops::Range;

/// Extents of a convolution of one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) conv: Conv,
    /// Height and width of the input.
    input: [usize; 2],
    /// Height and width of the output.
    output: [usize; 2],
}

impl Geometry {
    /// `None` if the kernel is larger than the padded image.
    pub(super) fn new(conv: Conv, height: usize, width: usize) -> Option<Self> {
        let extent =
            |n: usize| Some((n + 2 * conv.padding).checked_sub(conv.kernel)? / conv.stride.max(1) + 1);
        Some(Self {
            conv,
            input: [height, width],
            output: [extent(height)?, extent(width)?],
        })
    }

    /// Height and width of the input.
    pub(super) fn input(&self) -> [usize; 2] {
        self.input
    }

    /// Height and width of the output.
    pub(super) fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements of one input.
    pub(super) fn input_len(&self) -> usize {
        self.conv.inputs * self.input[0] * self.input[1]
    }

    /// Elements of one output.
    pub(super) fn output_len(&self) -> usize {
        self.conv.outputs * self.positions()
    }

    /// Places of the kernel: columns of the matrix of patches.
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Elements of a patch: rows of that matrix.
    pub(super) fn patch_len(&self) -> usize {
        self.conv.inputs * self.conv.kernel * self.conv.kernel
    }

    /// The places at which offset `tap` of the kernel lies inside an axis, and where it lies at the first of them.
    fn inside(&self, tap: usize, axis: usize) -> (Range<usize>, usize) {
        let Conv { stride, padding, .. } = self.conv;
        let first = padding.saturating_sub(tap).div_ceil(stride);
        let end = (self.input[axis] + padding).saturating_sub(tap).div_ceil(stride);
        let end = end.min(self.output[axis]);
        (
            first.min(end)..end,
            (first * stride + tap).saturating_sub(padding),
        )
    }

    /// Calls `f` for every row of the matrix of patches and every row of the image that it has parts of, with the range of both:
    /// the matrix's elements, and the first of the image's, which are a stride apart.
    fn each_run(&self, mut f: impl FnMut(Range<usize>, usize)) {
        let [height, width] = self.input;
        let (kernel, positions) = (self.conv.kernel, self.positions());
        for row in 0..self.patch_len() {
            let (channel, dy, dx) = (row / (kernel * kernel), row / kernel % kernel, row % kernel);
            let (ys, y) = self.inside(dy, 0);
            let (xs, x) = self.inside(dx, 1);
            if xs.is_empty() {
                continue;
            }
            for (step, place) in ys.enumerate() {
                let to = row * positions + place * self.output[1];
                let from = (channel * height + y + step * self.conv.stride) * width + x;
                f(to + xs.start..to + xs.end, from);
            }
        }
    }

    /// The matrix of patches of `image`: a row per element of a patch, a column per place. What lies outside the image is 0.
    pub(super) fn unfold(&self, image: &[f32], patches: &mut [f32]) {
        if self.conv.padding > 0 {
            patches.fill(0.0);
        }
        let stride = self.conv.stride;
        self.each_run(|to, from| {
            let to = &mut patches[to];
            if stride == 1 {
                to.copy_from_slice(&image[from..from + to.len()]);
            } else {
                let from = image[from..].iter().step_by(stride);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        });
    }

    /// The transpose of [`unfold`](Self::unfold): adds every element of `patches` to where it came from.
    pub(super) fn fold(&self, patches: &[f32], image: &mut [f32]) {
        let stride = self.conv.stride;
        self.each_run(|from, to| {
            let from = &patches[from];
            if stride == 1 {
                let to = &mut image[to..to + from.len()];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            } else {
                let to = image[to..].iter_mut().step_by(stride);
                to.zip(from).for_each(|(to, from)| *to += from);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(stride: usize, padding: usize) -> Geometry {
        let conv = Conv {
            inputs: 1,
            outputs: 1,
            kernel: 2,
            stride,
            padding,
            bias: false,
        };
        Geometry::new(conv, 2, 3).expect("the kernel fits")
    }

    #[test]
    fn patches_are_columns() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut patches = [9.0; 8];
        geometry(1, 0).unfold(&image, &mut patches);
        assert_eq!(patches, [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0]);
        // Places of a padded image of 4 x 5: rows 0 and 2, columns 0 and 2.
        let mut patches = [9.0; 16];
        geometry(2, 1).unfold(&image, &mut patches);
        assert_eq!(
            patches,
            [
                0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 4.0, 6.0, 0.0, 2.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0
            ]
        );
    }

    #[test]
    fn folding_counts_how_often_each_element_is_used() {
        let mut image = [0.0; 6];
        geometry(1, 0).fold(&[1.0; 8], &mut image);
        assert_eq!(image, [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]);
        let mut image = [0.0; 6];
        geometry(2, 1).fold(&[1.0; 16], &mut image);
        assert_eq!(image, [1.0; 6]);
    }

    #[test]
    fn a_kernel_larger_than_the_image_has_no_place() {
        let conv = Conv {
            kernel: 4,
            ..geometry(1, 0).conv
        };
        assert!(Geometry::new(conv, 2, 3).is_none());
    }
}
