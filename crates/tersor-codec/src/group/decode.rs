//! Decoding a group.

use super::{BLOCK, Header, SegmentOutput, family};
use crate::distribution::{Distribution, Family};
use crate::range::{BitCoder, RangeDecoder};
use crate::varint::read_varint;
use crate::{Coder, Error, Result, context, gaps, huffman, rans};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use std::sync::Arc;

/// Reads the symbols of one run after the other.
enum Stream<'a> {
    Bits(huffman::BitReader<'a>),
    OneLane(rans::Decoder<'a, 1>),
    ManyLanes(rans::Decoder<'a, { rans::MANY_LANES }>),
}

/// A run's table, in the form its stream needs.
enum RunTable {
    Bits(huffman::Table),
    Ans(rans::Table),
}

impl RunTable {
    /// A table for a run of so many symbols.
    fn new(distribution: &Distribution, family: Family, n_symbols: usize) -> Result<Self> {
        if family == Family::Ans {
            rans::Table::new(distribution, n_symbols).map(Self::Ans)
        } else {
            huffman::Table::new(distribution).map(Self::Bits)
        }
    }
}

impl Stream<'_> {
    fn run(&mut self, table: &RunTable, out: &mut [u16]) -> Result<()> {
        match (self, table) {
            (Self::Bits(reader), RunTable::Bits(table)) => reader.run(table, out),
            (Self::OneLane(decoder), RunTable::Ans(table)) => decoder.run(table, out),
            (Self::ManyLanes(decoder), RunTable::Ans(table)) => decoder.run(table, out),
            _ => Err(Error::corrupt("group", "a table of another coder")),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Bits(reader) => reader.finish(),
            Self::OneLane(decoder) => decoder.finish(),
            Self::ManyLanes(decoder) => decoder.finish(),
        }
    }
}

/// How the symbols of a segment are laid out in the stream.
pub(crate) enum Layout {
    Plain(Arc<Distribution>),
    Gaps {
        gap_bits: u32,
        n_gaps: usize,
        n_survivors: usize,
        gaps: Arc<Distribution>,
        survivors: Arc<Distribution>,
    },
    Planes(Vec<Arc<Distribution>>),
    Empty,
}

impl Layout {
    pub(crate) fn n_symbols(&self, n: usize) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Gaps {
                n_gaps, n_survivors, ..
            } => (n_gaps + n_survivors) as u64,
            Self::Plain(_) | Self::Planes(_) => n as u64,
        }
    }
}

pub(crate) fn read_layout(
    header: &mut Header,
    decoder: &mut RangeDecoder<'_>,
    n: usize,
    n_levels: usize,
    zero: Option<u16>,
) -> Result<Layout> {
    if n == 0 {
        return Ok(Layout::Empty);
    }
    if zero.is_none() || n_levels < 2 || !decoder.bit(&mut header.use_gaps, false)? {
        let distribution = header.distributions.code(decoder, n_levels, n as u64, None)?;
        return Ok(Layout::Plain(distribution));
    }
    let gap_bits = header.gap_bits.code(decoder, 0)?;
    let n_survivors = header.n_survivors.code(decoder, 0)?;
    let n_fillers = header.n_gaps.code(decoder, 0)?;
    let n_gaps = n_survivors.saturating_add(n_fillers);
    // Every filler skips at least one element and every survivor is one.
    if !gaps::GAP_BITS.contains(&(gap_bits.min(99) as u32)) || n_gaps > n as u64 {
        let what = format!("{n_gaps} gaps of {gap_bits} bits for {n} elements");
        return Err(Error::corrupt("group header", what));
    }
    let gap_bits = gap_bits as u32;
    let gaps = header.distributions.code(decoder, 1 << gap_bits, n_gaps, None)?;
    let survivors = header
        .distributions
        .code(decoder, n_levels - 1, n_survivors, None)?;
    Ok(Layout::Gaps {
        gap_bits,
        n_gaps: n_gaps as usize,
        n_survivors: n_survivors as usize,
        gaps,
        survivors,
    })
}

/// Decodes a group into its segments.
///
/// Memory beyond the outputs stays below 6 bytes per element of a tensor with gaps, plus 16 MiB of distributions, plus
/// a table of at most 1 MiB; DEFLATE takes as much as the outputs, the coder `context` up to 7 bytes per element.
///
/// # Errors
/// [`Error::Truncated`] or [`Error::Corrupt`] if the bytes are not a group with these segments. What was written to the
/// outputs is then unspecified.
pub fn decode_group(bytes: &[u8], coder: Coder, segments: &mut [SegmentOutput<'_>]) -> Result<()> {
    let Some(family) = family(coder) else {
        return match coder {
            Coder::Context => context::decode_group(bytes, segments),
            _ => inflate(bytes, segments),
        };
    };
    let (header_len, rest) = read_varint(bytes).ok_or_else(|| {
        if bytes.len() < 9 && bytes.iter().all(|b| b & 0x80 != 0) {
            Error::Truncated { part: "group" }
        } else {
            Error::corrupt("group", "a length of its header that is not in its shortest form")
        }
    })?;
    let split = usize::try_from(header_len)
        .ok()
        .and_then(|n| rest.split_at_checked(n));
    let (header_bytes, payload) = split.ok_or(Error::Truncated { part: "group header" })?;
    let mut decoder = RangeDecoder::new(header_bytes, "group header")?;
    let mut header = Header::new(family);
    let mut layouts = Vec::with_capacity(segments.len());
    let mut n_symbols = 0u64;
    for segment in segments.iter() {
        let (layout, n) = match segment {
            SegmentOutput::Symbols {
                out, n_levels, zero, ..
            } => (
                read_layout(&mut header, &mut decoder, out.len(), *n_levels, *zero)?,
                out.len(),
            ),
            SegmentOutput::Values {
                out,
                dequantizer,
                n_levels,
                zero,
                ..
            } => {
                let n = out.len() / dequantizer.size_bytes();
                (read_layout(&mut header, &mut decoder, n, *n_levels, *zero)?, n)
            }
            SegmentOutput::Raw { out: [], .. } => (Layout::Empty, 0),
            SegmentOutput::Raw { out, item_bytes } => {
                let n = out.len().checked_div(*item_bytes).unwrap_or(0) as u64;
                let planes: Result<_> = (0..*item_bytes)
                    .map(|_| header.distributions.code(&mut decoder, 256, n, None))
                    .collect();
                (Layout::Planes(planes?), out.len())
            }
        };
        n_symbols += layout.n_symbols(n);
        layouts.push(layout);
    }
    decoder.finish()?;
    let mut stream = match family {
        Family::Ans if rans::n_lanes(n_symbols) == 1 => Stream::OneLane(rans::Decoder::new(payload)?),
        Family::Ans => Stream::ManyLanes(rans::Decoder::new(payload)?),
        Family::Fixed | Family::Huffman => Stream::Bits(huffman::BitReader::new(payload)),
    };
    for (segment, layout) in segments.iter_mut().zip(&layouts) {
        decode_segment(&mut stream, family, layout, segment)?;
    }
    stream.finish()
}

/// Bits that each segment of a group takes, if its coder tells: a static one has tables that segments share.
///
/// # Errors
/// As [`decode_group`].
pub(crate) fn measure_group(
    bytes: &[u8],
    coder: Coder,
    segments: &mut [SegmentOutput<'_>],
) -> Result<Option<Vec<f64>>> {
    match coder {
        Coder::Context => context::measure_group(bytes, segments).map(Some),
        _ => Ok(None),
    }
}

fn decode_segment(
    stream: &mut Stream<'_>,
    family: Family,
    layout: &Layout,
    segment: &mut SegmentOutput<'_>,
) -> Result<()> {
    let mut block = [0u16; BLOCK];
    match (layout, segment) {
        (Layout::Empty, _) => Ok(()),
        (Layout::Plain(distribution), SegmentOutput::Symbols { out, .. }) => {
            stream.run(&RunTable::new(distribution, family, out.len())?, out)
        }
        (
            Layout::Plain(distribution),
            SegmentOutput::Values {
                out,
                dequantizer,
                first,
                ..
            },
        ) => {
            let n_symbols = out.len() / dequantizer.size_bytes();
            let table = RunTable::new(distribution, family, n_symbols)?;
            for (i, out) in out.chunks_mut(BLOCK * dequantizer.size_bytes()).enumerate() {
                let symbols = block
                    .get_mut(..out.len() / dequantizer.size_bytes())
                    .unwrap_or_default();
                stream.run(&table, symbols)?;
                dequantizer.write(first.wrapping_add((i * BLOCK) as u64), symbols, out);
            }
            Ok(())
        }
        (Layout::Planes(planes), SegmentOutput::Raw { out, item_bytes }) => {
            for (plane, distribution) in planes.iter().enumerate() {
                let table = RunTable::new(distribution, family, out.len() / *item_bytes)?;
                for out in out.chunks_mut(BLOCK * *item_bytes) {
                    let symbols = block.get_mut(..out.len() / *item_bytes).unwrap_or_default();
                    stream.run(&table, symbols)?;
                    for (out, &symbol) in out
                        .iter_mut()
                        .skip(plane)
                        .step_by(*item_bytes)
                        .zip(symbols.iter())
                    {
                        *out = symbol as u8;
                    }
                }
            }
            Ok(())
        }
        (
            Layout::Gaps {
                gap_bits,
                n_gaps,
                n_survivors,
                gaps,
                survivors,
            },
            segment,
        ) => {
            let mut gap_symbols = vec![0; *n_gaps];
            stream.run(&RunTable::new(gaps, family, *n_gaps)?, &mut gap_symbols)?;
            let (n, zero) = match segment {
                SegmentOutput::Symbols { out, zero, .. } => (out.len(), *zero),
                SegmentOutput::Values {
                    out,
                    dequantizer,
                    zero,
                    ..
                } => (out.len() / dequantizer.size_bytes(), *zero),
                SegmentOutput::Raw { .. } => (0, None),
            };
            let zero = zero.unwrap_or(0);
            let positions = gaps::positions(&gap_symbols, *gap_bits, n, *n_survivors)?;
            drop(gap_symbols);
            fill_zeros(segment, zero);
            let table = RunTable::new(survivors, family, *n_survivors)?;
            for positions in positions.chunks(BLOCK) {
                let symbols = block.get_mut(..positions.len()).unwrap_or_default();
                stream.run(&table, symbols)?;
                for (&position, &survivor) in positions.iter().zip(symbols.iter()) {
                    place(segment, position as usize, gaps::restore(survivor, zero));
                }
            }
            Ok(())
        }
        _ => Err(Error::corrupt(
            "group header",
            "a layout that does not fit its tensor",
        )),
    }
}

fn fill_zeros(segment: &mut SegmentOutput<'_>, zero: u16) {
    match segment {
        SegmentOutput::Symbols { out, .. } => out.fill(zero),
        SegmentOutput::Values {
            out,
            dequantizer,
            first,
            ..
        } => {
            let symbols = [zero; BLOCK];
            for (i, out) in out.chunks_mut(BLOCK * dequantizer.size_bytes()).enumerate() {
                dequantizer.write(first.wrapping_add((i * BLOCK) as u64), &symbols, out);
            }
        }
        SegmentOutput::Raw { .. } => {}
    }
}

fn place(segment: &mut SegmentOutput<'_>, position: usize, symbol: u16) {
    match segment {
        SegmentOutput::Symbols { out, .. } => {
            if let Some(out) = out.get_mut(position) {
                *out = symbol;
            }
        }
        SegmentOutput::Values {
            out,
            dequantizer,
            first,
            ..
        } => {
            let size = dequantizer.size_bytes();
            if let Some(out) = out.get_mut(position * size..(position + 1) * size) {
                dequantizer.write(first.wrapping_add(position as u64), &[symbol], out);
            }
        }
        SegmentOutput::Raw { .. } => {}
    }
}

fn inflate(bytes: &[u8], segments: &mut [SegmentOutput<'_>]) -> Result<()> {
    let mut n_bytes = 0usize;
    for segment in segments.iter() {
        match segment {
            SegmentOutput::Raw { out, .. } => n_bytes += out.len(),
            _ => return Err(Error::corrupt("group", "a quantized tensor coded with DEFLATE")),
        }
    }
    let mut all = vec![0; n_bytes];
    let (status, n_read, n_written) = decompress(
        &mut DecompressorOxide::new(),
        bytes,
        &mut all,
        0,
        inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
    );
    match status {
        TINFLStatus::Done if n_written < n_bytes => {
            return Err(Error::corrupt(
                "group",
                format!("{n_written} bytes where {n_bytes} were expected"),
            ));
        }
        TINFLStatus::Done if n_read < bytes.len() => {
            let what = format!("{} bytes follow its end", bytes.len() - n_read);
            return Err(Error::corrupt("group", what));
        }
        TINFLStatus::Done => {}
        TINFLStatus::HasMoreOutput => {
            let what = format!("a DEFLATE stream of more than {n_bytes} bytes");
            return Err(Error::corrupt("group", what));
        }
        TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
            return Err(Error::Truncated { part: "group" });
        }
        _ => return Err(Error::corrupt("group", "a DEFLATE stream that breaks its rules")),
    }
    let mut rest = all.as_slice();
    for segment in segments {
        if let SegmentOutput::Raw { out, .. } = segment {
            let (part, tail) = rest.split_at(out.len());
            out.copy_from_slice(part);
            rest = tail;
        }
    }
    Ok(())
}
