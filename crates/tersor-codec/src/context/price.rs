//! Prices of symbols in the present state of the coder `context`.

use super::segment::{Extent, Segment, Start};
use super::shape::{Kind, Shape};
use super::walk::Site;
use super::{Group, encode_segment};
use crate::cost::CostCounter;
use crate::group::SegmentInput;
use crate::{Error, Result};

/// What symbols would take if they came next in a group of the coder `context`.
///
/// A group is a sequence of segments, each begun with [`begin`](Self::begin) and followed symbol by symbol with
/// [`push`](Self::push), or taken whole with [`take`](Self::take). [`price`](Self::price) changes nothing. A snapshot is a clone: about 480 KB, and seven bytes per element of
/// the segment at hand.
#[derive(Clone, Debug)]
pub struct ContextPrices {
    group: Group,
    segment: Option<Segment>,
    site: Option<Site>,
}

impl Default for ContextPrices {
    fn default() -> Self {
        Self::new()
    }
}

impl ContextPrices {
    /// The state at the beginning of a group.
    pub fn new() -> Self {
        Self {
            group: Group::new(),
            segment: None,
            site: None,
        }
    }

    /// Begins a segment of `n` elements from element `first` of a tensor, in an alphabet of `n_levels`. Distances are counted from
    /// `centre`: the `zero` symbol, or the symbol in the middle; `mean` is about their mean magnitude, or that of the indices on a
    /// [`trellis`](crate::trellis), which begins in state 0 and counts from the zero symbol. The segment before, if any, ends.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `centre` is outside the alphabet, or not the zero symbol on a trellis, where vectors cannot be.
    pub fn begin(
        &mut self,
        (shape, first): (&[u64], u64),
        n: usize,
        n_levels: usize,
        zero: Option<u16>,
        (centre, mean): (u16, f64),
        on_trellis: bool,
    ) -> Result<()> {
        if usize::from(centre) >= n_levels {
            return Err(Error::invalid(format!(
                "the centre {centre} of {n_levels} levels"
            )));
        }
        if on_trellis && (zero != Some(centre) || Shape::new(shape).kind == Kind::Vector) {
            return Err(Error::invalid(
                "a trellis without a zero symbol in its centre, or of a vector",
            ));
        }
        self.end();
        let extent = Extent {
            shape,
            first,
            n,
            n_levels,
            zero,
        };
        let state = on_trellis.then_some(0);
        let start = Start::new(centre, (mean.max(0.0) * 65536.0) as u32, state);
        self.segment = Segment::begin(&mut self.group, &mut CostCounter::default(), extent, start)?;
        self.site = self.segment.as_ref().map(|s| s.site(&self.group.model));
        Ok(())
    }

    /// Bits that `symbol` would take as the next one, in units of 2^-16 bit: good to about a thousandth. 0 where the
    /// alphabet leaves no choice, [`u32::MAX`] where a trellis excludes it.
    pub fn price(&self, symbol: u16) -> u32 {
        match (&self.segment, &self.site) {
            (Some(segment), Some(site)) => segment.price(&self.group.model, site, symbol),
            _ => 0,
        }
    }

    /// Bits that an index of a quantizer would take as the next one of a segment on a trellis, whatever its state, in units of 2^-16 bit.
    /// [`u32::MAX`] for an index whose level is not in the alphabet, and for all in other segments.
    pub fn price_of_index(&self, quantizer: usize, index: i32) -> u32 {
        match (&self.segment, &self.site) {
            (Some(segment), Some(site)) => segment.price_of_index(&self.group.model, site, quantizer, index),
            _ if index == 0 => 0,
            _ => u32::MAX,
        }
    }

    /// Takes `symbol` as the next one of a segment on a trellis, in the turn of a quantizer that has it, whatever the state.
    pub fn push_in_turn(&mut self, quantizer: usize, symbol: u16) {
        if let Some(segment) = &mut self.segment {
            segment.turn(quantizer);
        }
        self.push(symbol);
    }

    /// How many symbols there have been in the segments before, of tensors of a kind, vectors, matrices, or kernels as a shape has them,
    /// on a trellis or not.
    pub fn n_seen(&self, shape: &[u64], on_trellis: bool) -> u64 {
        let kind = Shape::new(shape).kind as usize;
        self.group.model.n_seen[kind][usize::from(on_trellis)]
    }

    /// Takes `symbol` as the next one.
    pub fn push(&mut self, symbol: u16) {
        if let (Some(segment), Some(site)) = (&mut self.segment, &mut self.site) {
            let model = &mut self.group.model;
            segment.encode_one(model, &mut CostCounter::default(), site, symbol);
            *site = segment.site(model);
        }
    }

    /// Takes a whole segment as an encoder does, which chooses the centre by all symbols, and tells its bits. The segment at hand, if
    /// any, ends before.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a symbol is outside its alphabet.
    pub fn take(&mut self, segment: &SegmentInput<'_>) -> Result<f64> {
        self.end();
        let mut cost = CostCounter::default();
        encode_segment(&mut self.group, &mut cost, segment)?;
        Ok(cost.bits())
    }

    /// Ends the segment at hand, so that the next one starts from what it leaves.
    pub fn end(&mut self) {
        self.site = None;
        if let Some(segment) = self.segment.take() {
            segment.finish(&mut self.group.model);
        }
    }
}
