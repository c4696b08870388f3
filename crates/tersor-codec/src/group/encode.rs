//! Encoding a group.

use super::choose::{Pool, choose, choose_gaps, count};
use super::{Header, SegmentInput, family};
use crate::distribution::{Distribution, Family};
use crate::range::{BitCoder, RangeEncoder};
use crate::varint::write_varint;
use crate::{Coder, Error, Result, context, gaps, huffman, rans};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Symbols that share a distribution.
struct Run<'a> {
    symbols: Cow<'a, [u16]>,
    distribution: Arc<Distribution>,
}

/// Symbols below which a segment shares its table with others of the same alphabet, if that is smaller.
const POOLED_BELOW: usize = 1 << 13;

/// What small segments with the same alphabet and zero symbol may share.
type Pools = HashMap<(usize, Option<u16>), Pool>;

fn pools(segments: &[SegmentInput<'_>], family: Family) -> Pools {
    let mut members = HashMap::<(usize, Option<u16>), (Vec<u64>, usize)>::new();
    for segment in segments {
        if let SegmentInput::Symbols {
            symbols,
            n_levels,
            zero,
            ..
        } = *segment
            && symbols.len() < POOLED_BELOW
        {
            let (counts, n_members) = members
                .entry((n_levels, zero))
                .or_insert_with(|| (vec![0; n_levels], 0));
            counts
                .iter_mut()
                .zip(count(symbols, n_levels))
                .for_each(|(a, b)| *a += b);
            *n_members += 1;
        }
    }
    let shared = members.into_iter().filter(|(_, (_, n_members))| *n_members > 1);
    shared
        .map(|(kind, (counts, _))| (kind, Pool::new(&counts, family)))
        .collect()
}

/// How often each of `n` symbols occurs.
fn counts(symbols: &[u16], n: usize) -> Result<Vec<u64>> {
    if let Some(&bad) = symbols.iter().find(|&&s| usize::from(s) >= n) {
        return Err(Error::invalid(format!("symbol {bad} in an alphabet of {n}")));
    }
    Ok(count(symbols, n))
}

/// A group in the making.
struct GroupEncoder<'a> {
    family: Family,
    encoder: RangeEncoder,
    header: Header,
    runs: Vec<Run<'a>>,
}

impl<'a> GroupEncoder<'a> {
    /// Chooses the distribution of a run and adds the run.
    fn run(&mut self, symbols: Cow<'a, [u16]>, n: usize) -> Result<()> {
        let distribution = choose(
            &counts(&symbols, n)?,
            &self.header.distributions,
            self.family,
            None,
        )
        .0;
        self.add(symbols, n, distribution)
    }

    /// Codes the distribution of a run in the header and adds the run.
    fn add(&mut self, symbols: Cow<'a, [u16]>, n: usize, distribution: Arc<Distribution>) -> Result<()> {
        let n_symbols = symbols.len() as u64;
        let distributions = &mut self.header.distributions;
        distributions.code(&mut self.encoder, n, n_symbols, Some(&distribution))?;
        self.runs.push(Run {
            symbols,
            distribution,
        });
        Ok(())
    }

    fn segment(&mut self, segment: SegmentInput<'a>, pools: &Pools) -> Result<()> {
        match segment {
            SegmentInput::Symbols { symbols: [], .. } | SegmentInput::Raw { bytes: [], .. } => Ok(()),
            SegmentInput::Symbols {
                symbols,
                n_levels,
                zero,
                ..
            } => self.symbols(symbols, n_levels, zero, pools),
            SegmentInput::Raw { bytes, item_bytes } => (0..item_bytes).try_for_each(|plane| {
                let plane: Vec<u16> = bytes
                    .iter()
                    .skip(plane)
                    .step_by(item_bytes)
                    .map(|&b| u16::from(b))
                    .collect();
                self.run(plane.into(), 256)
            }),
        }
    }

    fn symbols(
        &mut self,
        symbols: &'a [u16],
        n_levels: usize,
        zero: Option<u16>,
        pools: &Pools,
    ) -> Result<()> {
        let zero = zero.filter(|_| n_levels > 1);
        let counts = counts(symbols, n_levels)?;
        let pool = pools
            .get(&(n_levels, zero))
            .filter(|_| symbols.len() < POOLED_BELOW);
        let distributions = &self.header.distributions;
        let (distribution, bits) = choose(&counts, distributions, self.family, pool);
        let plan = |zero| {
            let gap_bits = choose_gaps(symbols, &counts, zero, bits, distributions, self.family);
            gap_bits.map(|gap_bits| (zero, gap_bits))
        };
        let gaps = zero.and_then(plan);
        if zero.is_some() {
            self.encoder.bit(&mut self.header.use_gaps, gaps.is_some())?;
        }
        let Some((zero, gap_bits)) = gaps else {
            return self.add(symbols.into(), n_levels, distribution);
        };
        let split = gaps::split(symbols, zero, gap_bits);
        let n_fillers = split.gaps.len() - split.survivors.len();
        self.header
            .gap_bits
            .code(&mut self.encoder, u64::from(gap_bits))?;
        self.header
            .n_survivors
            .code(&mut self.encoder, split.survivors.len() as u64)?;
        self.header.n_gaps.code(&mut self.encoder, n_fillers as u64)?;
        self.run(split.gaps.into(), 1 << gap_bits)?;
        self.run(split.survivors.into(), n_levels - 1)
    }
}

/// Encodes a group.
///
/// # Errors
/// [`Error::Invalid`] if a symbol is outside its alphabet, or `coder` is [`Coder::Deflate`] and a segment is not raw.
pub fn encode_group(segments: &[SegmentInput<'_>], coder: Coder) -> Result<Vec<u8>> {
    let Some(family) = family(coder) else {
        return match coder {
            Coder::Context => context::encode_group(segments),
            _ => deflate(segments),
        };
    };
    let header = Header::new(family);
    let mut group = GroupEncoder {
        family,
        encoder: RangeEncoder::new(),
        header,
        runs: Vec::new(),
    };
    let pools = pools(segments, family);
    for &segment in segments {
        group.segment(segment, &pools)?;
    }
    let GroupEncoder { encoder, runs, .. } = group;
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
