//! Error feedback for the tensors of a design.

use super::{LayerSymbols, Prices, quantize};
use crate::design::{Design, Designer, Knob};
use crate::encode::quantized_jobs;
use crate::in_context::assign_in_context;
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::Arc;
use tersor_codec::{Coder, ContextPrices};

/// Replaces what a design has for the tensors with moments by symbols with error feedback, at the prices of a coder; `None`, the
/// smallest, is as `context`.
///
/// With `context` the tensors of a group are worked on in the order of the file, since prices go on from one to the next; a tensor
/// that is cut into groups is priced as a whole. Groups, and tensors with other coders, are worked on side by side, as many at a time
/// as there are threads.
pub(crate) fn apply(
    designer: &Designer<'_>,
    design: &mut Design,
    knob: Knob,
    coder: Option<Coder>,
) -> Result<()> {
    let in_context = matches!(coder, None | Some(Coder::Context));
    let uses = |index: &usize| designer.uses_feedback(*index);
    let jobs: Vec<Vec<usize>> = if in_context {
        let jobs = quantized_jobs(designer, design).into_iter();
        let upto_last = |mut job: Vec<usize>| {
            job.truncate(job.iter().rposition(uses)? + 1);
            Some(job)
        };
        jobs.filter_map(upto_last).collect()
    } else {
        let indices = (0..designer.tensors().len()).filter(uses);
        indices.map(|index| vec![index]).collect()
    };
    let mut found = Vec::new();
    for jobs in jobs.chunks(rayon::current_num_threads()) {
        let layers: Result<Vec<_>> = jobs
            .par_iter()
            .map(|job| work(designer, design, job, knob, in_context))
            .collect();
        found.extend(layers?.into_iter().flatten());
    }
    for (index, layer) in found {
        design.set_symbols(index, layer);
    }
    design.order_codebooks();
    Ok(())
}

/// Tensors that share a running state: those with feedback are quantized, the others teach it.
fn work(
    designer: &Designer<'_>,
    design: &Design,
    job: &[usize],
    knob: Knob,
    in_context: bool,
) -> Result<Vec<(usize, Arc<LayerSymbols>)>> {
    let mut prices = in_context.then(ContextPrices::new);
    let mut found = Vec::new();
    for &index in job {
        if designer.uses_feedback(index) {
            let prices = prices.as_mut().map_or(Prices::Order0, Prices::Context);
            let layer = layer(designer, index, knob, prices)?;
            designer.progress.advance(layer.report.n);
            found.push((index, Arc::new(layer)));
        } else if let Some(prices) = &mut prices {
            learn(designer, design, index, prices)?;
        }
    }
    Ok(found)
}

fn layer(designer: &Designer<'_>, index: usize, knob: Knob, prices: Prices<'_>) -> Result<LayerSymbols> {
    let (Some(info), Some(slope)) = (designer.tensors().get(index), designer.slope(index, knob)?) else {
        return Err(Error::SelfCheck);
    };
    let loaded = designer.load(index)?;
    let moments = designer.moments(index)?.ok_or(Error::SelfCheck)?;
    let problems = moments.problems(&loaded.source(), designer.options.trellis)?;
    quantize(info, &problems, designer.step(index, slope), slope, prices)
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
