//! Images with zeros around them, such that every offset of a kernel is one distance in memory.
//!
//! A row of `width` elements is followed by `padding` zeros, which are also those before the next row. So the elements under one
//! offset of the kernel, as it slides over the image, lie side by side as its outputs do, with as many outputs in between that
//! mean nothing.

/// Extents of padded images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    padding: usize,
    kernel: usize,
}

/// Outputs of a channel are counted in multiples of this: of every length of a vector that processors have.
const ALIGNMENT: usize = 16;

impl Planes {
    /// Images of `height` x `width` under a square kernel that is larger than the padding.
    pub(super) fn new(channels: usize, [height, width]: [usize; 2], padding: usize, kernel: usize) -> Self {
        Self {
            channels,
            height,
            width,
            padding,
            kernel,
        }
    }

    /// From one row to the next.
    fn pitch(&self) -> usize {
        self.width + self.padding
    }

    /// From one channel to the next.
    fn plane(&self) -> usize {
        (self.height + 2 * self.padding) * self.pitch() + self.padding
    }

    /// Elements of an image, with what may be read behind its end.
    pub(super) fn len(&self) -> usize {
        self.channels * self.plane() + ALIGNMENT
    }

    /// Elements of an image as it is outside.
    pub(super) fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Height and width of the outputs.
    fn output(&self) -> [usize; 2] {
        let reach = 2 * self.padding + 1;
        [
            self.height + reach - self.kernel,
            self.width + reach - self.kernel,
        ]
    }

    /// Outputs of a channel, with those that mean nothing.
    pub(super) fn outputs(&self) -> usize {
        let [height, width] = self.output();
        ((height - 1) * self.pitch() + width).next_multiple_of(ALIGNMENT)
    }

    /// Where the first element under each offset `[channel, y, x]` of the kernel is.
    pub(super) fn offsets(&self) -> Vec<usize> {
        let area = self.kernel * self.kernel;
        let offsets = (0..self.channels * area).map(|i| {
            let (channel, y, x) = (i / area, i / self.kernel % self.kernel, i % self.kernel);
            channel * self.plane() + y * self.pitch() + x
        });
        offsets.collect()
    }

    /// Writes an image `[channel, y, x]` with zeros around it.
    pub(super) fn pad(&self, image: &[f32], padded: &mut [f32]) {
        padded.fill(0.0);
        for (i, row) in image.chunks_exact(self.width).enumerate() {
            let (channel, y) = (i / self.height, i % self.height);
            let at = channel * self.plane() + (y + self.padding) * self.pitch() + self.padding;
            copy(row, &mut padded[at..at + row.len()]);
        }
    }

    /// Rows of outputs, as they are outside and where they are inside.
    fn output_rows(&self, i: usize) -> usize {
        let [height, _] = self.output();
        i / height * self.outputs() + i % height * self.pitch()
    }

    /// Writes outputs `[channel, y, x]` with zeros for those that mean nothing.
    pub(super) fn spread(&self, outputs: &[f32], wide: &mut [f32]) {
        wide.fill(0.0);
        for (i, row) in outputs.chunks_exact(self.output()[1]).enumerate() {
            let at = self.output_rows(i);
            copy(row, &mut wide[at..at + row.len()]);
        }
    }

    /// Takes the outputs `[channel, y, x]` that mean something.
    pub(super) fn gather(&self, wide: &[f32], outputs: &mut [f32]) {
        for (i, row) in outputs.chunks_exact_mut(self.output()[1]).enumerate() {
            let at = self.output_rows(i);
            copy(&wide[at..at + row.len()], row);
        }
    }
}

/// Copies a row: eight elements at a time, since rows are often so short that a call takes longer than the copy.
fn copy(from: &[f32], to: &mut [f32]) {
    let (eights, rest) = from.as_chunks::<8>();
    let (to_eights, to_rest) = to.as_chunks_mut::<8>();
    to_eights
        .iter_mut()
        .zip(eights)
        .for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_under_an_offset_lie_as_the_outputs_do() {
        let planes = Planes::new(2, [2, 3], 1, 2);
        let image: Vec<f32> = (1..=12).map(|i| i as f32).collect();
        let mut padded = vec![-1.0; planes.len()];
        planes.pad(&image, &mut padded);
        let offsets = planes.offsets();
        assert_eq!(offsets.len(), 8);
        // Offset (1, 0) of the second channel: the lower left element, over outputs of 3 x 4.
        let mut outputs = vec![0.0; 12];
        planes.gather(&padded[offsets[6]..], &mut outputs);
        assert_eq!(
            outputs,
            [0.0, 7.0, 8.0, 9.0, 0.0, 10.0, 11.0, 12.0, 0.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn outputs_are_taken_from_where_they_are_spread() {
        let planes = Planes::new(1, [4, 5], 1, 3);
        let outputs: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let mut wide = vec![-1.0; 2 * planes.outputs()];
        planes.spread(&outputs, &mut wide);
        let mut back = vec![0.0; 40];
        planes.gather(&wide, &mut back);
        assert_eq!(back, outputs);
        assert_eq!(wide.iter().sum::<f32>(), outputs.iter().sum::<f32>());
    }
}
