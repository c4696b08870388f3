//! A group: tensors, or a chunk of one, coded together; the unit of coding, random access and checksum.
//!
//! Its bytes are a header (which distribution each run of symbols has, range coded) and one stream of symbols.
//! `docs/format.md`, "Groups".

use crate::codebook::Dequantizer;
use crate::distribution::{
    Distribution, DistributionCoder, Family, fixed_len_bits, normalize, uniform_frequency, uniform_scale_bits,
};
use crate::range::{Bit, BitCoder, RangeDecoder, RangeEncoder, UintModel};
use crate::varint::{read_varint, write_varint};
use crate::{Coder, Error, Result, gaps, huffman, rans};
use std::borrow::Cow;

/// Most elements of one group: what bounds a decoder's memory.
pub const MAX_GROUP_ELEMENTS: u64 = 1 << 24;
/// Symbols decoded before they are turned into values: few enough for the fastest cache.
const BLOCK: usize = 1 << 12;
/// Earlier tables that are tried before a new one is written.
const TABLES_TRIED: usize = 16;

/// What one tensor, or a chunk of one, contributes to a group.
#[derive(Clone, Copy, Debug)]
pub enum SegmentInput<'a> {
    /// Symbols of a quantized tensor.
    Symbols {
        /// The symbols, below `n_levels`.
        symbols: &'a [u16],
        /// Size of the alphabet.
        n_levels: usize,
        /// The symbol whose level is zero: its positions may be coded as gaps.
        zero: Option<u16>,
    },
    /// Bytes to be stored losslessly.
    Raw {
        /// The bytes.
        bytes: &'a [u8],
        /// Bytes of one element: bytes of equal significance are coded together.
        item_bytes: usize,
    },
}

/// What a decoder knows of a segment, and where it goes.
#[derive(Debug)]
pub enum SegmentOutput<'a> {
    /// Symbols.
    Symbols {
        /// Where they go; the length is the number of elements.
        out: &'a mut [u16],
        /// Size of the alphabet.
        n_levels: usize,
        /// The symbol whose level is zero.
        zero: Option<u16>,
    },
    /// Values of a quantized tensor.
    Values {
        /// Where their bytes go.
        out: &'a mut [u8],
        /// From symbols to bytes.
        dequantizer: &'a Dequantizer<'a>,
        /// Index in the tensor of the first element.
        first: u64,
        /// Size of the alphabet.
        n_levels: usize,
        /// The symbol whose level is zero.
        zero: Option<u16>,
    },
    /// Bytes stored losslessly.
    Raw {
        /// Where they go.
        out: &'a mut [u8],
        /// Bytes of one element.
        item_bytes: usize,
    },
}

/// Symbols that share a distribution.
struct Run<'a> {
    symbols: Cow<'a, [u16]>,
    distribution: Distribution,
}

/// Models of a group's header.
struct Header {
    use_gaps: Bit,
    gap_bits: UintModel,
    n_survivors: UintModel,
    n_gaps: UintModel,
    distributions: DistributionCoder,
}

impl Header {
    fn new(family: Family) -> Self {
        Self {
            use_gaps: Bit::default(),
            gap_bits: UintModel::default(),
            n_survivors: UintModel::default(),
            n_gaps: UintModel::default(),
            distributions: DistributionCoder::new(family),
        }
    }
}

fn family(coder: Coder) -> Option<Family> {
    match coder {
        Coder::Fixed => Some(Family::Fixed),
        Coder::Huffman => Some(Family::Huffman),
        Coder::Ans => Some(Family::Ans),
        Coder::Deflate => None,
    }
}

/// Bits of a run with these counts under a distribution; infinite if it cannot code them.
fn payload_bits(counts: &[u64], distribution: &Distribution, family: Family) -> f64 {
    let used = || counts.iter().enumerate().filter(|&(_, &c)| c > 0);
    match distribution {
        Distribution::Constant { symbol, .. } => {
            if used().all(|(s, _)| s == *symbol as usize) {
                0.0
            } else {
                f64::INFINITY
            }
        }
        Distribution::Uniform { n } if family == Family::Ans => {
            let scale_bits = uniform_scale_bits(*n);
            let bits = |s: usize| {
                f64::from(scale_bits) - f64::from(uniform_frequency(*n, s as u32, scale_bits).0).log2()
            };
            used().map(|(s, &c)| c as f64 * bits(s)).sum()
        }
        Distribution::Uniform { n } => counts.iter().sum::<u64>() as f64 * f64::from(fixed_len_bits(*n)),
        Distribution::Frequencies {
            scale_bits,
            frequencies,
        } => used()
            .map(|(s, &c)| {
                let frequency = frequencies.get(s).copied().unwrap_or(0);
                c as f64 * (f64::from(*scale_bits) - f64::from(frequency).log2())
            })
            .sum(),
        Distribution::Lengths(lengths) => used()
            .map(|(s, &c)| match lengths.get(s) {
                Some(&length) if length > 0 => c as f64 * f64::from(length),
                _ => f64::INFINITY,
            })
            .sum(),
    }
}

/// The distribution for a run with these counts, and its cost in bits with all that is written about it.
///
/// Tries uniform, the tables written before and new ones.
fn choose(counts: &[u64], header: &DistributionCoder, family: Family) -> (Distribution, f64) {
    let n = counts.len() as u32;
    let mut used = counts
        .iter()
        .enumerate()
        .filter(|&(_, &c)| c > 0)
        .map(|(s, _)| s as u32);
    match (used.next(), used.next()) {
        (None, _) => return (Distribution::Uniform { n }, 1.0),
        (Some(symbol), None) => return (Distribution::Constant { n, symbol }, 8.0),
        _ => {}
    }
    let uniform = Distribution::Uniform { n };
    let bits = payload_bits(counts, &uniform, family) + 1.0;
    let mut best = (uniform, bits);
    let mut consider = |distribution: Distribution, table_bits: f64, handicap: f64| {
        let bits = payload_bits(counts, &distribution, family) + table_bits;
        if bits * (1.0 + handicap) < best.1 {
            best = (distribution, bits);
        }
    };
    for (back, table) in header.seen().iter().rev().take(TABLES_TRIED).enumerate() {
        if table.alphabet() == counts.len() {
            consider(table.clone(), 3.0 + ((back + 1) as f64).log2(), 0.0);
        }
    }
    // Codes above 12 bits need larger tables in decoders: they must pay.
    let sizes: &[(u32, f64)] = match family {
        Family::Fixed => &[],
        Family::Huffman => &[(12, 0.0), (16, 0.002)],
        Family::Ans => &[(12, 0.0), (10, 0.0), (8, 0.0), (14, 0.002), (16, 0.002)],
    };
    for &(size, handicap) in sizes {
        let distribution = if family == Family::Huffman {
            huffman::code_lengths(counts, size).map(Distribution::Lengths)
        } else {
            normalize(counts, size).map(|frequencies| Distribution::Frequencies {
                scale_bits: size,
                frequencies,
            })
        };
        if let Some(distribution) = distribution {
            let table_bits = header.cost_bits(&distribution);
            consider(distribution, table_bits, handicap);
        }
    }
    best
}

fn count(symbols: &[u16], n: usize) -> Vec<u64> {
    // Four tables, since equal neighbours would wait for each other.
    let mut tables = vec![[0u64; 4]; n];
    for chunk in symbols.chunks(4) {
        for (lane, &symbol) in chunk.iter().enumerate() {
            if let Some(count) = tables.get_mut(usize::from(symbol)).and_then(|t| t.get_mut(lane)) {
                *count += 1;
            }
        }
    }
    tables.iter().map(|t| t.iter().sum()).collect()
}

/// Plans how the zeros of a segment are coded: bits of the gap alphabet if gaps are smaller than zero as a symbol.
fn choose_gaps(
    symbols: &[u16],
    counts: &[u64],
    zero: u16,
    header: &DistributionCoder,
    family: Family,
) -> Option<u32> {
    let n_zeros = counts.get(usize::from(zero)).copied().unwrap_or(0);
    if counts.len() < 2 || n_zeros * 2 < symbols.len() as u64 {
        return None;
    }
    let plain = choose(counts, header, family).1;
    let mut survivors = counts.to_vec();
    survivors.remove(usize::from(zero));
    let distances = gaps::distances(symbols, zero);
    let values = choose(&survivors, header, family).1;
    let (bits, gap_bits) = gaps::GAP_BITS
        .filter(|&b| b >= 2)
        .map(|b| (choose(&gaps::gap_counts(&distances, b), header, family).1, b))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    // 30 bits: what the header says about survivors and gaps.
    (bits + values + 30.0 < plain).then_some(gap_bits)
}

/// Codes the distribution of a run in the header and adds the run.
fn add_run<'a>(
    runs: &mut Vec<Run<'a>>,
    header: &mut DistributionCoder,
    coder: &mut RangeEncoder,
    symbols: Cow<'a, [u16]>,
    n: usize,
    family: Family,
) -> Result<()> {
    if let Some(&bad) = symbols.iter().find(|&&s| usize::from(s) >= n) {
        return Err(Error::invalid(format!("symbol {bad} in an alphabet of {n}")));
    }
    let distribution = choose(&count(&symbols, n), header, family).0;
    header.code(coder, n, Some(&distribution))?;
    runs.push(Run {
        symbols,
        distribution,
    });
    Ok(())
}

/// Encodes a group.
///
/// # Errors
/// [`Error::Invalid`] if a symbol is outside its alphabet, or `coder` is [`Coder::Deflate`] and a segment is not raw.
pub fn encode_group(segments: &[SegmentInput<'_>], coder: Coder) -> Result<Vec<u8>> {
    let Some(family) = family(coder) else {
        return deflate(segments);
    };
    let mut encoder = RangeEncoder::new();
    let mut header = Header::new(family);
    let mut runs = Vec::new();
    for segment in segments {
        match *segment {
            SegmentInput::Symbols { symbols: [], .. } | SegmentInput::Raw { bytes: [], .. } => {}
            SegmentInput::Symbols {
                symbols,
                n_levels,
                zero,
            } => {
                let gap_bits = zero.and_then(|zero| {
                    choose_gaps(
                        symbols,
                        &count(symbols, n_levels),
                        zero,
                        &header.distributions,
                        family,
                    )
                });
                if zero.is_some() && n_levels > 1 {
                    encoder.bit(&mut header.use_gaps, gap_bits.is_some())?;
                }
                if let (Some(zero), Some(gap_bits)) = (zero, gap_bits) {
                    let split = gaps::split(symbols, zero, gap_bits);
                    header.gap_bits.code(&mut encoder, u64::from(gap_bits))?;
                    header
                        .n_survivors
                        .code(&mut encoder, split.survivors.len() as u64)?;
                    header
                        .n_gaps
                        .code(&mut encoder, (split.gaps.len() - split.survivors.len()) as u64)?;
                    add_run(
                        &mut runs,
                        &mut header.distributions,
                        &mut encoder,
                        split.gaps.into(),
                        1 << gap_bits,
                        family,
                    )?;
                    let survivors = split.survivors.into();
                    add_run(
                        &mut runs,
                        &mut header.distributions,
                        &mut encoder,
                        survivors,
                        n_levels - 1,
                        family,
                    )?;
                } else {
                    add_run(
                        &mut runs,
                        &mut header.distributions,
                        &mut encoder,
                        symbols.into(),
                        n_levels,
                        family,
                    )?;
                }
            }
            SegmentInput::Raw { bytes, item_bytes } => {
                for plane in 0..item_bytes {
                    let plane: Vec<u16> = bytes
                        .iter()
                        .skip(plane)
                        .step_by(item_bytes)
                        .map(|&b| u16::from(b))
                        .collect();
                    add_run(
                        &mut runs,
                        &mut header.distributions,
                        &mut encoder,
                        plane.into(),
                        256,
                        family,
                    )?;
                }
            }
        }
    }
    let header = encoder.finish();
    let mut out = Vec::new();
    write_varint(&mut out, header.len() as u64);
    out.extend_from_slice(&header);
    if family == Family::Ans {
        let n_symbols = runs.iter().map(|r| r.symbols.len() as u64).sum();
        let mut encoder = rans::Encoder::new(rans::n_lanes(n_symbols));
        for run in runs.iter().rev() {
            encoder.run(&rans::EncodeTable::new(&run.distribution), &run.symbols);
        }
        out.append(&mut encoder.finish());
    } else {
        let mut writer = huffman::BitWriter::default();
        for run in &runs {
            writer.run(&huffman::Codes::new(&run.distribution), &run.symbols);
        }
        out.append(&mut writer.finish());
    }
    Ok(out)
}

/// Bytes that [`encode_group`] will return.
///
/// Exact, at the cost of encoding without keeping the result.
///
/// # Errors
/// As [`encode_group`].
pub fn encoded_len_bytes(segments: &[SegmentInput<'_>], coder: Coder) -> Result<usize> {
    encode_group(segments, coder).map(|bytes| bytes.len())
}

/// Bits that symbols with these counts take under `coder`, with the table that describes them; an estimate from the
/// counts alone, good to a few bytes. Zeros are counted as ordinary symbols.
pub fn estimate_bits(counts: &[u64], coder: Coder) -> f64 {
    family(coder).map_or(0.0, |family| {
        choose(counts, &DistributionCoder::new(family), family).1
    })
}

fn deflate(segments: &[SegmentInput<'_>]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for segment in segments {
        match segment {
            SegmentInput::Raw { bytes, .. } => all.extend_from_slice(bytes),
            SegmentInput::Symbols { .. } => {
                return Err(Error::invalid("symbols of a quantized tensor with DEFLATE"));
            }
        }
    }
    Ok(miniz_oxide::deflate::compress_to_vec(&all, 9))
}

fn inflate(bytes: &[u8], segments: &mut [SegmentOutput<'_>]) -> Result<()> {
    let mut n_bytes = 0usize;
    for segment in segments.iter() {
        match segment {
            SegmentOutput::Raw { out, .. } => n_bytes += out.len(),
            _ => return Err(Error::corrupt("group", "a quantized tensor coded with DEFLATE")),
        }
    }
    let all = miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, n_bytes)
        .map_err(|e| Error::corrupt("group", format!("a DEFLATE stream that fails: {e}")))?;
    if all.len() != n_bytes {
        return Err(Error::corrupt(
            "group",
            format!("{} bytes where {n_bytes} were expected", all.len()),
        ));
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
    fn new(distribution: &Distribution, family: Family) -> Result<Self> {
        if family == Family::Ans {
            rans::Table::new(distribution).map(Self::Ans)
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
enum Layout {
    Plain(Distribution),
    Gaps {
        gap_bits: u32,
        n_gaps: usize,
        n_survivors: usize,
        gaps: Distribution,
        survivors: Distribution,
    },
    Planes(Vec<Distribution>),
    Empty,
}

impl Layout {
    fn n_symbols(&self, n: usize) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Gaps {
                n_gaps, n_survivors, ..
            } => (n_gaps + n_survivors) as u64,
            Self::Plain(_) | Self::Planes(_) => n as u64,
        }
    }
}

fn read_layout(
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
        return Ok(Layout::Plain(header.distributions.code(decoder, n_levels, None)?));
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
    let gaps = header.distributions.code(decoder, 1 << gap_bits, None)?;
    let survivors = header.distributions.code(decoder, n_levels - 1, None)?;
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
/// Memory beyond the outputs stays below 6 bytes per element of a tensor with gaps, plus tables of at most 1 MiB.
///
/// # Errors
/// [`Error::Truncated`] or [`Error::Corrupt`] if the bytes are not a group with these segments. What was written to the
/// outputs is then unspecified.
pub fn decode_group(bytes: &[u8], coder: Coder, segments: &mut [SegmentOutput<'_>]) -> Result<()> {
    let Some(family) = family(coder) else {
        return inflate(bytes, segments);
    };
    let (header_len, rest) = read_varint(bytes).ok_or(Error::Truncated { part: "group" })?;
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
            SegmentOutput::Symbols { out, n_levels, zero } => (
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
            SegmentOutput::Raw { out, .. } if out.is_empty() => (Layout::Empty, 0),
            SegmentOutput::Raw { out, item_bytes } => {
                let planes: Result<_> = (0..*item_bytes)
                    .map(|_| header.distributions.code(&mut decoder, 256, None))
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
            stream.run(&RunTable::new(distribution, family)?, out)
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
            let table = RunTable::new(distribution, family)?;
            for (i, out) in out.chunks_mut(BLOCK * dequantizer.size_bytes()).enumerate() {
                let symbols = block
                    .get_mut(..out.len() / dequantizer.size_bytes())
                    .unwrap_or_default();
                stream.run(&table, symbols)?;
                dequantizer.write(*first + (i * BLOCK) as u64, symbols, out);
            }
            Ok(())
        }
        (Layout::Planes(planes), SegmentOutput::Raw { out, item_bytes }) => {
            for (plane, distribution) in planes.iter().enumerate() {
                let table = RunTable::new(distribution, family)?;
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
            stream.run(&RunTable::new(gaps, family)?, &mut gap_symbols)?;
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
            let table = RunTable::new(survivors, family)?;
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
                dequantizer.write(*first + (i * BLOCK) as u64, &symbols, out);
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
                dequantizer.write(*first + position as u64, &[symbol], out);
            }
        }
        SegmentOutput::Raw { .. } => {}
    }
}
