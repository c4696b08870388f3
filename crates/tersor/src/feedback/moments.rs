//! Second moments of layers in a sensitivity file.
//!
//! | key | shape | what |
//! |---|---|---|
//! | `NAME::gram` | `[blocks, n, n]`, or `[n, n]` for one block | `E[x x^T]` of a layer's inputs; of patches for a convolution |
//! | `NAME::cross` | as `gram` | `E[x_original x^T]`, if the inputs are not those of the original any more |
//!
//! A tensor `[outputs, ...]` has as many inputs as its other extents multiply to. The blocks are diagonal blocks of one matrix, the
//! last one padded, and for a grouped convolution those of one group after the other.
//!
//! Moments of output gradients (`NAME::outgrad`) are left alone. As weights of the rows they did not pay: ResNet-32 at 1.5 bits per
//! weight, coder `context`, moments and Fisher diagonal of 500 images, no repair, was at a divergence of 0.153 nats from the original
//! with them and 0.087 without (the first 2,000 test images), with `--power 0.5` at 0.094 and 0.091.

use crate::checkpoint::Checkpoint;
use crate::design::LARGEST_H;
use crate::names::bare;
use crate::{Error, Result, weights};
use std::borrow::Cow;
use std::collections::HashMap;
use tersor_codec::TensorInfo;
use tersor_quant::Source;
use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, Problem};

/// Inputs from which a matrix is cut into diagonal blocks of so many: a factor of it takes time with their cube.
const MAX_BLOCK: usize = 4096;

/// Where the moments of a tensor are in the file.
#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: usize,
    cross: Option<usize>,
    layout: Layout,
}

/// How a tensor's moments are cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Groups of the convolution; 1 for everything else.
    n_parts: usize,
    /// Inputs of an output.
    n_in: usize,
    /// Inputs of a block.
    block: usize,
}

impl Layout {
    /// The layout of a tensor's moments, if their shape is one.
    fn new(tensor: &[u64], gram: &[u64]) -> Option<Self> {
        let (n_blocks, block) = match *gram {
            [n, m] if n == m => (1, n),
            [blocks, n, m] if n == m => (blocks, n),
            _ => return None,
        };
        let [rows, columns @ ..] = tensor else { return None };
        let n_in = columns.iter().product::<u64>();
        let blocks_per_part = n_in.checked_div(block)? + u64::from(!n_in.is_multiple_of(block));
        let n_parts = n_blocks.checked_div(blocks_per_part)?;
        let fits = block <= n_in && n_parts > 0 && n_parts * blocks_per_part == n_blocks;
        (fits && rows.is_multiple_of(n_parts)).then_some(Layout {
            n_parts: n_parts as usize,
            n_in: n_in as usize,
            block: block as usize,
        })
    }

    /// Elements of the moments of one part.
    const fn part_len(&self) -> usize {
        self.n_in.div_ceil(self.block) * self.block * self.block
    }
}

/// Which tensors of a checkpoint have moments in a sensitivity file.
#[derive(Default)]
pub(crate) struct Moments {
    entries: Vec<Option<Entry>>,
}

fn refuse<T>(key: &str, what: &str) -> Result<T> {
    let what =
        format!("{key:?} {what}; measure it again, remove it, or switch error feedback off (--feedback off)");
    Err(Error::Sensitivity(what))
}

impl Moments {
    /// Matches the file with the tensors of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Sensitivity`] for moments that do not fit their tensor, by shape or type.
    pub(crate) fn find(file: &Checkpoint, tensors: &[TensorInfo]) -> Result<Self> {
        let mut keys: HashMap<(&str, &str), usize> = HashMap::new();
        for (index, info) in file.tensors().iter().enumerate() {
            let Some((name, kind)) = info.name.split_once("::") else {
                continue;
            };
            if keys.insert((bare(name), kind), index).is_some() {
                return refuse(
                    &info.name,
                    "names the same tensor as another, with or without \"module.\"",
                );
            }
        }
        let entry = |info: &TensorInfo| -> Result<Option<Entry>> {
            let find = |kind: &'static str| keys.get(&(bare(&info.name), kind)).copied();
            let Some(gram) = find("gram").filter(|_| info.shape.len() > 1) else {
                return Ok(None);
            };
            let cross = find("cross");
            let entry = |index: usize| file.tensors().get(index).ok_or(Error::SelfCheck);
            for index in [Some(gram), cross].into_iter().flatten() {
                let found = entry(index)?;
                if !found.dtype.is_float() {
                    return refuse(&found.name, &format!("is of type {}, not F32", found.dtype));
                }
            }
            let found = entry(gram)?;
            let layout = Layout::new(&info.shape, &found.shape);
            let layout = layout.filter(|l| l.block <= MAX_BLOCK || l.block == l.n_in);
            let Some(layout) = layout else {
                let (shape, n_in) = (&found.shape, info.shape.iter().skip(1).product::<u64>());
                let what = format!(
                    "has shape {shape:?}, the tensor {:?}: it needs [groups, n, n] with {n_in} inputs, or diagonal blocks of at \
                     most {MAX_BLOCK}",
                    info.shape
                );
                return refuse(&found.name, &what);
            };
            if let Some(cross) = cross.map(entry).transpose()?
                && cross.shape != found.shape
            {
                let what = format!("has shape {:?}, that of gram is {:?}", cross.shape, found.shape);
                return refuse(&cross.name, &what);
            }
            Ok(Some(Entry { gram, cross, layout }))
        };
        let entries: Vec<Option<Entry>> = tensors.iter().map(entry).collect::<Result<_>>()?;
        let axis = |(key, value): &&(String, String)| key == "output_axis" && value != "0";
        let mut metadata = file.shards().iter().flat_map(|shard| &shard.metadata);
        if let (Some((_, axis)), true) = (metadata.find(axis), entries.iter().any(Option::is_some)) {
            let what = format!("says that outputs are along axis {axis}; moments are for axis 0 only");
            return refuse("output_axis", &what);
        }
        Ok(Self { entries })
    }

    /// Whether a tensor has moments.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(Option::is_some)
    }

    /// Reads the moments of a tensor that has some.
    ///
    /// # Errors
    /// [`Error::Sensitivity`] for elements that no moments have: not finite, a negative mean of squares, not symmetric.
    pub(crate) fn load<'f>(&self, file: &'f Checkpoint, index: usize) -> Result<LayerMoments<'f>> {
        let entry = self
            .entries
            .get(index)
            .copied()
            .flatten()
            .ok_or(Error::SelfCheck)?;
        let load = |index: usize| weights::load(file, index);
        let name = |index: usize| file.tensors().get(index).map_or("", |t| &t.name);
        let mut moments = LayerMoments {
            key: name(entry.gram).to_owned(),
            layout: entry.layout,
            gram: load(entry.gram)?,
            cross: entry.cross.map(load).transpose()?,
        };
        moments.cut();
        for part in 0..moments.layout.n_parts {
            moments.gram_of(part)?;
        }
        Ok(moments)
    }
}

/// The moments of one tensor.
pub(crate) struct LayerMoments<'f> {
    /// Their key, for errors.
    key: String,
    layout: Layout,
    gram: Cow<'f, [f32]>,
    cross: Option<Cow<'f, [f32]>>,
}

impl LayerMoments<'_> {
    /// Cuts matrices that are too large into diagonal blocks.
    fn cut(&mut self) {
        let Layout { n_in, block, .. } = self.layout;
        if block <= MAX_BLOCK {
            return;
        }
        for values in [Some(&mut self.gram), self.cross.as_mut()].into_iter().flatten() {
            let parts = values.chunks_exact(block * block);
            *values = Cow::Owned(
                parts
                    .flat_map(|part| diagonal_blocks(part, n_in, MAX_BLOCK))
                    .collect(),
            );
        }
        self.layout.block = MAX_BLOCK;
    }

    fn part_of<'a>(&self, values: &'a [f32], part: usize) -> &'a [f32] {
        let len = self.layout.part_len();
        values.get(part * len..(part + 1) * len).unwrap_or_default()
    }

    fn gram_of(&self, part: usize) -> Result<Gram<'_>> {
        let gram = Gram::new(
            self.part_of(&self.gram, part),
            self.layout.n_in,
            self.layout.block,
        );
        gram.or_else(|error| refuse(&self.key, &format!("cannot be second moments: {error}")))
    }

    /// The layer, or one for each group of a convolution, with the mean sensitivity of its weights, for a trellis or not.
    ///
    /// # Errors
    /// [`Error::Sensitivity`] for matrices that no damping makes positive definite.
    pub(crate) fn problems<'a>(&'a self, source: &Source<'a>, trellis: bool) -> Result<Vec<Problem<'a>>> {
        let config = FeedbackConfig {
            trellis,
            ..FeedbackConfig::default()
        };
        let len = source.len() / self.layout.n_parts;
        let problem = |part: usize| {
            let source = source.slice(part * len..(part + 1) * len);
            let layer = Layer {
                weights: source.weights,
                gram: self.gram_of(part)?,
                cross: self.cross.as_ref().map(|cross| self.part_of(cross, part)),
                sensitivity: source.mean_h().min(LARGEST_H),
                row_weights: None,
            };
            let problem = Problem::new(&layer, &config);
            problem.or_else(|error| refuse(&self.key, &format!("cannot be used: {error}")))
        };
        (0..self.layout.n_parts).map(problem).collect()
    }
}

/// The diagonal blocks of an `n x n` matrix, the last one padded with zeros.
fn diagonal_blocks(matrix: &[f32], n: usize, block: usize) -> Vec<f32> {
    let mut blocks = vec![0f32; n.div_ceil(block) * block * block];
    for (i, (out, row)) in blocks
        .chunks_exact_mut(block)
        .zip(matrix.chunks_exact(n))
        .enumerate()
    {
        let start = i / block * block;
        let part = row.get(start..n.min(start + block)).unwrap_or_default();
        out.iter_mut().zip(part).for_each(|(out, value)| *out = *value);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_say_how_moments_are_cut_up() {
        let layout = |tensor: &[u64], gram: &[u64]| {
            let found = Layout::new(tensor, gram)?;
            Some((found.n_parts, found.n_in, found.block))
        };
        assert_eq!(layout(&[8, 6], &[1, 6, 6]), Some((1, 6, 6)));
        assert_eq!(layout(&[8, 6], &[6, 6]), Some((1, 6, 6)));
        assert_eq!(
            layout(&[8, 6], &[2, 4, 4]),
            Some((1, 6, 4)),
            "the last block is padded"
        );
        assert_eq!(
            layout(&[8, 2, 3, 3], &[4, 18, 18]),
            Some((4, 18, 18)),
            "four groups"
        );
        assert_eq!(
            layout(&[8, 6], &[4, 4, 4]),
            Some((2, 6, 4)),
            "two groups of two blocks"
        );
        for wrong in [
            &[1, 5, 6][..],
            &[3, 4, 4],
            &[1, 7, 7],
            &[3, 6, 6],
            &[6],
            &[0, 6, 6],
            &[1, 0, 0],
        ] {
            assert_eq!(layout(&[8, 6], wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn large_matrices_leave_their_diagonal_blocks() {
        let matrix: Vec<f32> = (0..9).map(|i| i as f32).collect();
        assert_eq!(
            diagonal_blocks(&matrix, 3, 2),
            [0.0, 1.0, 3.0, 4.0, 8.0, 0.0, 0.0, 0.0]
        );
    }
}
