//! Symbols of a design that are found before the file is encoded.

use super::plain::quantize_pieces;
use super::{LayerSymbols, Prices, quantize};
use crate::design::{Design, Designer, Knob};
use crate::encode::quantized_jobs;
use crate::in_context::assign_in_context;
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use tersor_codec::{Coder, ContextPrices, Segment};

/// Replaces what a design has for tensors with moments by symbols with error feedback, and for others that go on a trellis by symbols
/// that do, at the prices of a coder; `None`, the smallest, is as `context`.
///
/// With `context` the tensors of a group are worked on in the order of the file, since prices go on from one to the next; a tensor
/// that is cut into groups is priced as a whole where errors are fed back, otherwise piece by piece. Groups, and tensors with other coders, are worked on side by side, as many at a time
/// as there are threads.
pub(crate) fn apply(
    designer: &Designer<'_>,
    design: &mut Design,
    knob: Knob,
    coder: Option<Coder>,
) -> Result<()> {
    let uses = |index: usize| designer.is_chosen_ahead(index, coder);
    let jobs: Vec<Job> = if matches!(coder, None | Some(Coder::Context)) {
        let upto_last = |segments: Vec<Segment>| {
            let mut job = pieces(&segments);
            job.truncate(job.iter().rposition(|(index, _)| uses(*index))? + 1);
            Some(job)
        };
        let jobs = quantized_jobs(designer, design).into_iter();
        jobs.filter_map(upto_last).collect()
    } else {
        let indices = (0..designer.tensors().len()).filter(|&index| uses(index));
        indices.map(|index| vec![(index, Vec::new())]).collect()
    };
    let mut found = Vec::new();
    for jobs in jobs.chunks(rayon::current_num_threads()) {
        let layers: Result<Vec<_>> = jobs
            .par_iter()
            .map(|job| work(designer, design, job, knob, coder))
            .collect();
        found.extend(layers?.into_iter().flatten());
    }
    for (index, layer) in found {
        design.set_symbols(index, layer);
    }
    design.order_codebooks();
    Ok(())
}

/// Tensors that share a running state, with their pieces in the file, if that matters.
type Job = Vec<(usize, Vec<Range<usize>>)>;

/// The tensors of segments in order.
fn pieces(segments: &[Segment]) -> Job {
    let range = |s: &Segment| s.start as usize..(s.start + s.len) as usize;
    let tensors = segments.chunk_by(|a, b| a.item == b.item);
    tensors
        .filter_map(|of_one| Some((of_one.first()?.item, of_one.iter().map(range).collect())))
        .collect()
}

/// The tensors of a job whose symbols are found ahead; the others teach the coder.
fn work(
    designer: &Designer<'_>,
    design: &Design,
    job: &Job,
    knob: Knob,
    coder: Option<Coder>,
) -> Result<Vec<(usize, Arc<LayerSymbols>)>> {
    let in_context = matches!(coder, None | Some(Coder::Context));
    let mut prices = in_context.then(ContextPrices::new);
    let mut found = Vec::new();
    for (index, pieces) in job {
        let index = *index;
        if designer.is_chosen_ahead(index, coder) {
            let prices = prices.as_mut().map_or(Prices::Order0, Prices::Context);
            let layer = layer(designer, (index, pieces), knob, prices)?;
            designer.progress.advance(layer.report.n);
            found.push((index, Arc::new(layer)));
        } else if let Some(prices) = &mut prices {
            learn(designer, design, index, prices)?;
        }
    }
    Ok(found)
}

fn layer(
    designer: &Designer<'_>,
    (index, pieces): (usize, &[Range<usize>]),
    knob: Knob,
    prices: Prices<'_>,
) -> Result<LayerSymbols> {
    let (Some(info), Some(slope)) = (designer.tensors().get(index), designer.slope(index, knob)?) else {
        return Err(Error::SelfCheck);
    };
    let loaded = designer.load(index)?;
    let (source, step) = (loaded.source(), designer.step(index, slope));
    if !designer.uses_feedback(index) {
        return quantize_pieces(info, pieces, &source, (step, true), slope, prices);
    }
    let moments = designer.moments(index)?.ok_or(Error::SelfCheck)?;
    let problems = moments.problems(&source, designer.options.trellis)?;
    quantize(info, &problems, step, slope, prices)
}

/// Codes a tensor without feedback as the file will have it.
fn learn(designer: &Designer<'_>, design: &Design, index: usize, prices: &mut ContextPrices) -> Result<()> {
    let (Some(info), Some(Some(coding))) = (designer.tensors().get(index), design.codings.get(index)) else {
        return Err(Error::SelfCheck);
    };
    let codebook = design.codebooks.get(coding.codebook).ok_or(Error::SelfCheck)?;
    let loaded = designer.load(index)?;
    let source = loaded.source();
    let mut symbols = vec![0; source.len()];
    assign_in_context(prices, (codebook, coding), (info, 0), &source, &mut symbols)?;
    Ok(())
}
