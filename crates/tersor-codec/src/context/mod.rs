//! The coder `context`: each symbol is a few decisions, each decision is coded with a probability learned from what
//! came before. `docs/format.md`, "Groups of coder context".
//!
//! A symbol becomes its distance from a centre ([`distance`]): zero or not, the sign, the magnitude by intervals. A
//! [`walk`] knows the neighbours of an element in its row, column and kernel, and how large the magnitudes of its row,
//! its column and its neighbours are; from these a linear unit expects a magnitude. A [`model`] keeps counters in a few
//! contexts made of that, and mixes them. What is learned is kept over all segments of a group.
//!
//! # Source
//! Counters and logistic mixing: M. Mahoney, PAQ6 to lpaq, 2002-2007. Decisions with contexts for weights of neural networks:
//! S. Wiedemann et al., "`DeepCABAC`: A Universal Compression Algorithm for Deep Neural Networks", 2020. Ours: the
//! expected magnitude learned while coding, statistics of rows and columns, signs predicted within kernels, columns that
//! start from the rows of the tensor before; all in integers.

#![expect(
    clippy::inline_always,
    reason = "decisions follow each other in a chain: a call among them costs a tenth of the speed"
)]

mod bytes;
mod counter;
mod distance;
mod logistic;
mod mixer;
mod model;
mod neighbours;
mod price;
mod segment;
mod shape;
mod table;
mod walk;

use crate::cost::Metered;
use crate::group::{BLOCK, SegmentInput, SegmentOutput};
use crate::range::{BitCoder, RangeDecoder, RangeEncoder};
use crate::{Error, Result};
use bytes::ByteModel;
pub(crate) use logistic::cost;
use model::Model;
pub use price::ContextPrices;
use segment::{Extent, Segment, Start, Starts};
use shape::Shape;

/// All models of a group.
#[derive(Clone, Debug)]
struct Group {
    model: Model,
    starts: Starts,
    bytes: ByteModel,
}

impl Group {
    fn new() -> Self {
        Self {
            model: Model::new(),
            starts: Starts::new(),
            bytes: ByteModel::new(),
        }
    }
}

/// Encodes a group.
pub(crate) fn encode_group(segments: &[SegmentInput<'_>]) -> Result<Vec<u8>> {
    let mut encoder = RangeEncoder::new();
    let mut group = Group::new();
    for segment in segments {
        encode_segment(&mut group, &mut encoder, segment)?;
    }
    Ok(encoder.finish())
}

fn encode_segment(group: &mut Group, coder: &mut impl BitCoder, segment: &SegmentInput<'_>) -> Result<()> {
    match *segment {
        SegmentInput::Raw { bytes, item_bytes } => group.bytes.code(coder, item_bytes, &mut bytes.to_vec()),
        SegmentInput::Symbols {
            symbols,
            n_levels,
            zero,
            shape,
            first,
        } => {
            if let Some(&bad) = symbols.iter().find(|&&s| usize::from(s) >= n_levels) {
                return Err(Error::invalid(format!(
                    "symbol {bad} in an alphabet of {n_levels}"
                )));
            }
            let extent = Extent {
                shape,
                first,
                n: symbols.len(),
                n_levels,
                zero,
            };
            let start = Start::of(symbols, Shape::new(shape).kind, n_levels, zero);
            if let Some(mut segment) = Segment::begin(group, coder, extent, start)? {
                segment.encode(&mut group.model, coder, symbols);
                segment.finish(&mut group.model);
            }
            Ok(())
        }
    }
}

/// Decodes a group into its segments.
pub(crate) fn decode_group(bytes: &[u8], segments: &mut [SegmentOutput<'_>]) -> Result<()> {
    let mut decoder = RangeDecoder::new(bytes, "group")?;
    let mut group = Group::new();
    for segment in segments {
        decode_segment(&mut group, &mut decoder, segment)?;
    }
    decoder.finish()
}

/// Decodes a group, and tells the bits that each segment takes.
pub(crate) fn measure_group(bytes: &[u8], segments: &mut [SegmentOutput<'_>]) -> Result<Vec<f64>> {
    let mut decoder = Metered::new(RangeDecoder::new(bytes, "group")?);
    let mut group = Group::new();
    let mut bits = Vec::with_capacity(segments.len());
    for segment in segments {
        let before = decoder.bits();
        decode_segment(&mut group, &mut decoder, segment)?;
        bits.push(decoder.bits() - before);
    }
    decoder.finish()?;
    Ok(bits)
}

fn decode_segment(
    group: &mut Group,
    decoder: &mut impl BitCoder,
    segment: &mut SegmentOutput<'_>,
) -> Result<()> {
    match segment {
        SegmentOutput::Raw { out, item_bytes } => group.bytes.code(decoder, *item_bytes, out),
        SegmentOutput::Symbols {
            out,
            n_levels,
            zero,
            shape,
            first,
        } => {
            let extent = Extent {
                shape,
                first: *first,
                n: out.len(),
                n_levels: *n_levels,
                zero: *zero,
            };
            let Some(mut segment) = Segment::begin(group, decoder, extent, Start::default())? else {
                out.fill(0);
                return Ok(());
            };
            for out in out.chunks_mut(BLOCK) {
                segment.decode(&mut group.model, decoder, out);
                decoder.check()?;
            }
            segment.finish(&mut group.model);
            Ok(())
        }
        SegmentOutput::Values {
            out,
            dequantizer,
            first,
            n_levels,
            zero,
        } => {
            let size = dequantizer.size_bytes();
            let extent = Extent {
                shape: dequantizer.shape(),
                first: *first,
                n: out.len() / size,
                n_levels: *n_levels,
                zero: *zero,
            };
            let mut segment = Segment::begin(group, decoder, extent, Start::default())?;
            let mut block = [0; BLOCK];
            for (i, out) in out.chunks_mut(BLOCK * size).enumerate() {
                let symbols = block.get_mut(..out.len() / size).unwrap_or_default();
                if let Some(segment) = &mut segment {
                    segment.decode(&mut group.model, decoder, symbols);
                    decoder.check()?;
                }
                dequantizer.write(first.wrapping_add((i * BLOCK) as u64), symbols, out);
            }
            if let Some(segment) = segment {
                segment.finish(&mut group.model);
            }
            Ok(())
        }
    }
}
