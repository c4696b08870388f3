//! From a design to the bytes of a file, group by group: no more than the groups at hand are in memory.

use crate::design::{Coding, Design, Designer, assign};
use crate::plan::Treatment;
use crate::{Error, Result};
use rayon::prelude::*;
use tersor_codec::{
    BlobEntry, Codebook, Coder, Dequantizer, Directory, EncodedGroup, Entry, FileReader, Limits, Segment,
    Storage, assemble, estimate_bits, plan_groups,
};
use tersor_quant::Report;

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
        (Some(Treatment::Alias(target)), _) => Storage::Alias(*target),
        (_, Some(Some(coding))) => Storage::Quantized {
            codebook: coding.codebook,
            scales: None,
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

/// What a group holds, beside quantized tensors: raw tensors and blobs are kept apart from them.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Quantized,
    Raw,
    Blob,
}

/// Encodes a file with the coder asked for, or the smallest.
pub(crate) fn encode(designer: &Designer<'_>, design: &Design) -> Result<EncodedFile> {
    if let Some(coder) = designer.options.coder {
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
    let kind = |item: usize| match directory.entries.get(item).map(|e| &e.storage) {
        Some(Storage::Quantized { .. }) => Kind::Quantized,
        Some(_) => Kind::Raw,
        None => Kind::Blob,
    };
    let items: Vec<_> = directory.items().map(|(item, n)| (item, n, kind(item))).collect();
    let groups: Result<Vec<Coded>> = plan_groups(items, designer.options.group_elements)
        .into_par_iter()
        .map(|(kind, segments)| match kind {
            Kind::Quantized => quantized_group(designer, design, segments, coder),
            Kind::Raw => Ok((raw_group(designer, &segments, coder)?, Vec::new())),
            Kind::Blob => {
                let blob = |s: &Segment| {
                    let bytes = designer
                        .checkpoint
                        .blobs()
                        .get(s.item - n_tensors)
                        .map_or(&[][..], |b| &b.bytes);
                    (
                        bytes
                            .get(s.start as usize..(s.start + s.len) as usize)
                            .unwrap_or_default(),
                        1,
                    )
                };
                let parts: Vec<_> = segments.iter().map(blob).collect();
                Ok((EncodedGroup::raw(segments, &parts, coder)?, Vec::new()))
            }
        })
        .collect();
    let mut reports = vec![Report::default(); n_tensors];
    let mut encoded = Vec::new();
    for (group, parts) in groups? {
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

fn quantized_group(
    designer: &Designer<'_>,
    design: &Design,
    segments: Vec<Segment>,
    coder: Coder,
) -> Result<Coded> {
    let mut reports = Vec::with_capacity(segments.len());
    let mut parts: Vec<(Vec<u16>, &Codebook, Dequantizer<'_>)> = Vec::with_capacity(segments.len());
    for segment in &segments {
        let (Some(info), Some(Some(coding))) = (
            designer.tensors().get(segment.item),
            design.codings.get(segment.item),
        ) else {
            return Err(Error::SelfCheck);
        };
        let loaded = designer.load(segment.item)?;
        let source = loaded
            .source()
            .slice(segment.start as usize..(segment.start + segment.len) as usize);
        let mut symbols = vec![0; source.len()];
        let report = assign(&coding.assigner, &source, &mut symbols).map_err(Error::quantize(&info.name))?;
        reports.push((segment.item, report));
        let codebook = design.codebooks.get(coding.codebook).ok_or(Error::SelfCheck)?;
        parts.push((
            symbols,
            codebook,
            Dequantizer::new(codebook, None, info.dtype, &info.shape)?,
        ));
    }
    let inputs: Vec<_> = parts
        .iter()
        .map(|(symbols, codebook, d)| (symbols.as_slice(), *codebook, d))
        .collect();
    Ok((EncodedGroup::symbols(segments, &inputs, coder)?, reports))
}

fn raw_group(designer: &Designer<'_>, segments: &[Segment], coder: Coder) -> Result<EncodedGroup> {
    let mut loaded = Vec::with_capacity(segments.len());
    for segment in segments {
        let size = designer
            .tensors()
            .get(segment.item)
            .map_or(1, |t| t.dtype.size_bytes());
        loaded.push((designer.checkpoint.bytes(segment.item)?, size));
    }
    let mut parts: Vec<(&[u8], usize)> = Vec::with_capacity(segments.len());
    for (segment, (bytes, size)) in segments.iter().zip(&loaded) {
        let range = segment.start as usize * size..(segment.start + segment.len) as usize * size;
        parts.push((bytes.get(range).unwrap_or_default(), *size));
    }
    Ok(EncodedGroup::raw(segments.to_vec(), &parts, coder)?)
}

/// Bytes that quantized tensors will take, from their counts: good to about a percent.
pub(crate) fn estimate_bytes(design: &Design, coder: Option<Coder>) -> f64 {
    let bits = |coding: &Coding| {
        let with = |coder| estimate_bits(&coding.report.counts, coder);
        coder.map_or_else(
            || Coder::ENTROPY.into_iter().map(with).fold(f64::INFINITY, f64::min),
            with,
        )
    };
    design
        .codings
        .par_iter()
        .flatten()
        .map(bits)
        .collect::<Vec<_>>()
        .iter()
        .sum::<f64>()
        / 8.0
}

/// Decodes a file that was just encoded, with all its checksums.
///
/// # Errors
/// [`Error::SelfCheck`] if it does not decode to what was encoded.
pub(crate) fn self_check(file: &[u8]) -> Result<()> {
    let reader = FileReader::new(file, Limits::NONE).map_err(|_| Error::SelfCheck)?;
    crate::decompress::digests(&reader)
        .and_then(|digests| Ok(reader.check_digest(digests)?))
        .map_err(|_| Error::SelfCheck)
}
