//! From a design to the bytes of a file, group by group: no more than the groups at hand are in memory.

use crate::design::{Assigner, Coding, Design, Designer, Loaded, assign};
use crate::feedback::rounded;
use crate::in_context::assign_in_context;
use crate::plan::Treatment;
use crate::progress::Progress;
use crate::samples::Samples;
use crate::scales::RowScales;
use crate::verify::verify;
use crate::{Error, Result};
use rayon::prelude::*;
use std::borrow::Cow;
use tersor_codec::{
    BlobEntry, Codebook, Coder, ContextPrices, Dequantizer, Directory, Dtype, EncodedGroup, Entry,
    FileReader, Limits, Segment, Storage, assemble, estimate_bits, estimate_gap_saving, plan_groups,
};
use tersor_quant::{Report, Source};

/// A file and what it cost, per tensor.
pub(crate) struct EncodedFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) coder: Coder,
    /// One per tensor; empty for those that are not quantized.
    pub(crate) reports: Vec<Report>,
}

impl EncodedFile {
    /// Predicted loss increase of all tensors.
    pub(crate) fn loss(&self) -> f64 {
        self.reports.iter().map(|r| r.distortion).sum()
    }
}

fn directory(designer: &Designer<'_>, design: &Design) -> Directory {
    let storage = |index: usize| match (
        designer.plan.tensors.get(index).map(|p| &p.treatment),
        design.codings.get(index),
    ) {
        (Some(Treatment::Alias(target)), _) => Storage::Alias {
            target: *target,
            tied: designer.checkpoint.alias_of(index).is_some(),
        },
        (_, Some(Some(coding))) => Storage::Quantized {
            codebook: coding.codebook,
            scales: designer.scales(index).map(RowScales::stored).cloned(),
        },
        _ => Storage::Raw,
    };
    let blobs = designer.checkpoint.blobs();
    Directory {
        entries: designer
            .tensors()
            .iter()
            .enumerate()
            .map(|(i, t)| Entry {
                info: t.clone(),
                storage: storage(i),
            })
            .collect(),
        codebooks: design.codebooks.clone(),
        shards: designer.checkpoint.shards().to_vec(),
        blobs: blobs
            .iter()
            .map(|b| BlobEntry {
                path: b.path.clone(),
                size_bytes: b.bytes.len() as u64,
            })
            .collect(),
        groups: Vec::new(),
    }
}

/// An encoded group with the reports of its tensors.
type Coded = (EncodedGroup, Vec<(usize, Report)>);

/// A group that is planned.
type Group = (Kind, Vec<Segment>);

/// What a group holds, beside quantized tensors: raw tensors and blobs are kept apart from them.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Quantized,
    Raw,
    Blob,
}

/// Encodes a file with a coder, or the one that makes it smallest.
pub(crate) fn encode(designer: &Designer<'_>, design: &Design, coder: Option<Coder>) -> Result<EncodedFile> {
    if let Some(coder) = coder {
        return encode_with(designer, design, coder);
    }
    let mut best: Option<EncodedFile> = None;
    for coder in Coder::ENTROPY {
        let file = encode_with(designer, design, coder)?;
        if best.as_ref().is_none_or(|b| file.bytes.len() < b.bytes.len()) {
            best = Some(file);
        }
    }
    best.ok_or(Error::SelfCheck)
}

fn encode_with(designer: &Designer<'_>, design: &Design, coder: Coder) -> Result<EncodedFile> {
    let directory = directory(designer, design);
    let n_tensors = directory.entries.len();
    let groups = groups(designer, &directory);
    let jobs = jobs(&groups);
    let coded: Result<Vec<Vec<Coded>>> = jobs
        .into_par_iter()
        .map(|job| encode_job(designer, design, job, coder))
        .collect();
    let mut reports = vec![Report::default(); n_tensors];
    let mut encoded = Vec::with_capacity(groups.len());
    for (group, parts) in coded?.into_iter().flatten() {
        for (index, part) in parts {
            if let Some(report) = reports.get_mut(index) {
                report.merge(&part);
            }
        }
        encoded.push(group);
    }
    Ok(EncodedFile {
        bytes: assemble(directory, &encoded)?,
        coder,
        reports,
    })
}

/// The groups of a file.
fn groups(designer: &Designer<'_>, directory: &Directory) -> Vec<Group> {
    let kind = |item: usize| match directory.entries.get(item).map(|e| &e.storage) {
        Some(Storage::Quantized { .. }) => Kind::Quantized,
        Some(_) => Kind::Raw,
        None => Kind::Blob,
    };
    let items: Vec<_> = directory.items().map(|(item, n)| (item, n, kind(item))).collect();
    plan_groups(
        items,
        even_group_elements(directory, designer.options.group_elements),
    )
}

/// Groups that are encoded together: chunks of one tensor share what is loaded of it.
fn jobs(groups: &[Group]) -> Vec<&[Group]> {
    let item = |segment: Option<&Segment>| segment.map(|s| s.item);
    groups
        .chunk_by(|a, b| item(a.1.last()) == item(b.1.first()))
        .collect()
}

/// The quantized tensors of each group in the order of the file, or the pieces of one that is cut into groups.
pub(crate) fn quantized_jobs(designer: &Designer<'_>, design: &Design) -> Vec<Vec<Segment>> {
    let groups = groups(designer, &directory(designer, design));
    let is_quantized = |job: &&[Group]| job.first().is_some_and(|(kind, _)| *kind == Kind::Quantized);
    let quantized = jobs(&groups).into_iter().filter(is_quantized);
    quantized
        .map(|job| job.iter().flat_map(|(_, segments)| segments.clone()).collect())
        .collect()
}

/// Elements of groups that are about equally long, so that threads share the work evenly, and as few as groups of `most`
/// elements would be.
fn even_group_elements(directory: &Directory, most: u64) -> u64 {
    let total: u64 = directory.items().map(|(_, n)| n).sum();
    let even = total / total.div_ceil(most.max(1)).max(1);
    // Tensors do not end where groups should: an eighth more makes up for it.
    (even + even / 8).clamp(1, most.max(1))
}

/// Encodes one group of whole items, or all chunks of one.
fn encode_job(designer: &Designer<'_>, design: &Design, job: &[Group], coder: Coder) -> Result<Vec<Coded>> {
    let Some((kind, segments)) = job.first() else {
        return Ok(Vec::new());
    };
    let items = segments.iter().map(|s| s.item);
    match kind {
        Kind::Quantized => {
            let loaded: Vec<Loaded<'_>> = items.map(|item| designer.load(item)).collect::<Result<_>>()?;
            let code = |group: &Group| {
                let coded = quantized_group(designer, design, &loaded, &group.1, coder)?;
                let n_elements = group.1.iter().map(|segment| segment.len).sum();
                designer.progress.advance(n_elements);
                Ok(coded)
            };
            job.par_iter().map(code).collect()
        }
        Kind::Raw | Kind::Blob => {
            let loaded: Vec<_> = items
                .map(|item| raw_bytes(designer, item))
                .collect::<Result<_>>()?;
            job.par_iter()
                .map(|group| Ok((raw_group(&loaded, &group.1, coder)?, Vec::new())))
                .collect()
        }
    }
}

fn range(segment: &Segment, item_bytes: usize) -> std::ops::Range<usize> {
    segment.start as usize * item_bytes..(segment.start + segment.len) as usize * item_bytes
}

fn quantized_group(
    designer: &Designer<'_>,
    design: &Design,
    loaded: &[Loaded<'_>],
    segments: &[Segment],
    coder: Coder,
) -> Result<Coded> {
    // Prices are needed up to the last tensor on a grid.
    let is_priced = |segment: &Segment| {
        let coding = design.codings.get(segment.item).and_then(Option::as_ref);
        coding.is_some_and(|c| matches!(c.assigner, Assigner::Grid(..)))
    };
    let n_priced = match coder {
        Coder::Context => segments.iter().rposition(is_priced).map_or(0, |last| last + 1),
        _ => 0,
    };
    let mut prices = (n_priced > 0).then(ContextPrices::new);
    let mut reports = Vec::with_capacity(segments.len());
    let mut parts: Vec<(Vec<u16>, &Codebook, Dequantizer<'_>)> = Vec::with_capacity(segments.len());
    for (at, (segment, loaded)) in segments.iter().zip(loaded).enumerate() {
        let (Some(info), Some(Some(coding))) = (
            designer.tensors().get(segment.item),
            design.codings.get(segment.item),
        ) else {
            return Err(Error::SelfCheck);
        };
        let source = loaded.source().slice(range(segment, 1));
        let mut symbols = vec![0; source.len()];
        let codebook = design.codebooks.get(coding.codebook).ok_or(Error::SelfCheck)?;
        let start = segment.start as usize;
        let scales = designer.scales(segment.item);
        let report = match prices.as_mut().filter(|_| at < n_priced) {
            Some(prices) => {
                assign_in_context(prices, (codebook, coding), (info, start), &source, &mut symbols)?
            }
            None => {
                assign(&coding.assigner, start, &source, &mut symbols).map_err(Error::quantize(&info.name))?
            }
        };
        reports.push((
            segment.item,
            after_rounding(
                report,
                (&source, start),
                &symbols,
                (codebook, coding),
                (scales, info.dtype),
            ),
        ));
        parts.push((
            symbols,
            codebook,
            Dequantizer::new(codebook, scales.map(RowScales::stored), info.dtype, &info.shape)?,
        ));
    }
    let inputs: Vec<_> = parts
        .iter()
        .map(|(symbols, codebook, d)| (symbols.as_slice(), *codebook, d))
        .collect();
    Ok((EncodedGroup::symbols(segments.to_vec(), &inputs, coder)?, reports))
}

/// The report of values in the element type: levels are rounded once more where it has less precision than f32, and errors of rows
/// with scales are those of the weights as they were. The loss of symbols that are known stays as it is said to be: it need not be one
/// of weights each on its own.
fn after_rounding(
    report: Report,
    (source, start): (&Source<'_>, usize),
    symbols: &[u16],
    (codebook, coding): (&Codebook, &Coding),
    (scales, dtype): (Option<&RowScales>, Dtype),
) -> Report {
    if scales.is_none() && matches!(dtype, Dtype::F32 | Dtype::F64) {
        return report;
    }
    let levels = codebook.levels();
    let plain: Vec<f32> = levels.iter().map(|&l| rounded(l, dtype)).collect();
    let (mut distortion, mut squared_error) = (0.0, 0.0);
    for (i, (&w, &symbol)) in source.weights.iter().zip(symbols).enumerate() {
        let level = |levels: &[f32]| levels.get(usize::from(symbol)).copied().unwrap_or(0.0);
        // The error, and that of the weight over its scale.
        let (error, divided) = if let Some(scales) = scales {
            let scale = scales.at(start + i);
            let value = rounded(scale as f32 * level(&levels), dtype);
            let error = scale * f64::from(w) - f64::from(value);
            (error, error / scale)
        } else {
            let error = f64::from(w) - f64::from(level(&plain));
            (error, error)
        };
        distortion += 0.5 * f64::from(source.h.at(i)) * divided * divided;
        squared_error += error * error;
    }
    if matches!(coding.assigner, Assigner::Symbols(_)) {
        distortion = report.distortion;
    }
    Report {
        distortion,
        squared_error,
        ..report
    }
}

/// Bytes of a tensor or blob, and of one of its elements.
fn raw_bytes<'a>(designer: &Designer<'a>, item: usize) -> Result<(Cow<'a, [u8]>, usize)> {
    if let Some(info) = designer.tensors().get(item) {
        return Ok((designer.checkpoint.bytes(item)?, info.dtype.size_bytes()));
    }
    let blob = designer.checkpoint.blobs().get(item - designer.tensors().len());
    Ok((Cow::Borrowed(blob.map_or(&[], |b| &b.bytes)), 1))
}

fn raw_group(loaded: &[(Cow<'_, [u8]>, usize)], segments: &[Segment], coder: Coder) -> Result<EncodedGroup> {
    let mut parts: Vec<(&[u8], usize)> = Vec::with_capacity(segments.len());
    for (segment, (bytes, size)) in segments.iter().zip(loaded) {
        parts.push((bytes.get(range(segment, *size)).unwrap_or_default(), *size));
    }
    Ok(EncodedGroup::raw(segments.to_vec(), &parts, coder)?)
}

/// Bits of a level's line in a table, and of what else is said of a tensor. Measured on SqueezeNet v1.1 and ResNet-32 at 1.3
/// to 8 bits per weight; a search corrects the rest by its first real file.
const TABLE_BITS_PER_LEVEL: f64 = 6.0;
const BITS_PER_TENSOR: f64 = 40.0;

/// Bits of symbols with their table, from their counts.
///
/// With an ideal coder symbols cost what order 0 says, or no table is worth its bits; what Huffman codes lose depends on the
/// counts, so there tables are made.
fn symbol_bits(report: &Report, coder: Option<Coder>) -> f64 {
    match coder {
        None | Some(Coder::Ans) => {
            let with_table = report.rate_bits + TABLE_BITS_PER_LEVEL * report.levels_in_use as f64;
            with_table.min(report.n as f64 * (report.counts.len().max(1) as f64).log2())
        }
        Some(coder) => estimate_bits(&report.counts, coder),
    }
}

/// Bytes that a file will have, from the counts of its symbols: good to a percent or two.
pub(crate) fn estimate_bytes(designer: &Designer<'_>, design: &Design, coder: Option<Coder>) -> f64 {
    let bits = |coding: &Coding| symbol_bits(&coding.report, coder);
    let each: Vec<f64> = design.codings.par_iter().flatten().map(bits).collect();
    let raw = designer.plan.tensors.iter().zip(designer.tensors());
    let raw = raw.filter(|(plan, _)| matches!(plan.treatment, Treatment::Raw(_)));
    let raw_bytes: u64 = raw.filter_map(|(_, info)| info.size_bytes()).sum();
    let blob_bytes: usize = designer.checkpoint.blobs().iter().map(|b| b.bytes.len()).sum();
    let about = BITS_PER_TENSOR * designer.tensors().len() as f64;
    (each.iter().sum::<f64>() + about) / 8.0 + raw_bytes as f64 + blob_bytes as f64
}

/// Bytes of [`estimate_bytes`] that a file will not have, as its symbols tell: errors that balance change them, and positions of zeros are coded
/// as gaps, which no count of symbols shows. Negative if it will have more.
pub(crate) fn estimate_saving_bytes(
    designer: &Designer<'_>,
    design: &Design,
    samples: &Samples,
    coder: Option<Coder>,
) -> Result<f64> {
    if coder == Some(Coder::Context) {
        return Ok(0.0);
    }
    let saving = |(index, coding): (usize, &Option<Coding>)| -> Result<f64> {
        let Some(coding) = coding else {
            return Ok(0.0);
        };
        // Of symbols that are known the real file will tell, and one symbol has no gaps.
        if matches!(coding.assigner, Assigner::Symbols(_) | Assigner::Constant) {
            return Ok(0.0);
        }
        let is_balanced = matches!(coding.assigner, Assigner::Grid(..)) && designer.is_balanced(index);
        let codebook = design.codebooks.get(coding.codebook);
        let is_most = |&zero: &u16| {
            let n = coding.report.counts.get(usize::from(zero));
            n.is_some_and(|n| n * 2 >= coding.report.n)
        };
        let zero = codebook.and_then(Codebook::zero_symbol).filter(is_most);
        if zero.is_none() && !is_balanced {
            return Ok(0.0);
        }
        let part = designer.part(index, Some(samples))?;
        let source = part.source();
        let mut symbols = vec![0; source.len()];
        let report = assign(&coding.assigner, 0, &source, &mut symbols)
            .map_err(Error::quantize(designer.name(index)))?;
        let report = part.scaled(report);
        let gaps = zero.map_or(0.0, |zero| {
            estimate_gap_saving(&report.counts, &symbols, zero, coder.unwrap_or(Coder::Ans))
        });
        Ok(symbol_bits(&coding.report, coder) - symbol_bits(&report, coder) + gaps)
    };
    let savings = design.codings.par_iter().enumerate().map(saving);
    Ok(savings.collect::<Result<Vec<f64>>>()?.iter().sum::<f64>() / 8.0)
}

/// Decodes a file that was just encoded, with all its checksums.
///
/// # Errors
/// [`Error::SelfCheck`] if it does not decode to what was encoded.
pub(crate) fn self_check(file: &[u8], progress: &dyn Progress) -> Result<()> {
    let reader = FileReader::new(file, Limits::NONE).map_err(|_| Error::SelfCheck)?;
    verify(&reader, progress).map_err(|_| Error::SelfCheck)
}
