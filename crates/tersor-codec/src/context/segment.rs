//! Symbols of one tensor, or of a chunk of one.

use super::Group;
use super::distance::Span;
use super::model::Model;
use super::walk::{Site, Walk};
use crate::range::{Bit, BitCoder, UintModel};
use crate::{Error, Result};

/// Alphabets whose last centre is remembered.
const N_REMEMBERED: usize = 64;

/// The models of centres.
#[derive(Clone, Debug)]
pub(super) struct Centres {
    own: Bit,
    difference: UintModel,
    /// The last centre of its own among alphabets of a size with this remainder.
    last: [u16; N_REMEMBERED],
}

impl Centres {
    pub(super) fn new() -> Self {
        Self {
            own: Bit::default(),
            difference: UintModel::default(),
            last: [0; N_REMEMBERED],
        }
    }

    /// Codes the symbol that distances are counted from.
    fn code(
        &mut self,
        coder: &mut impl BitCoder,
        n_levels: usize,
        zero: Option<u16>,
        given: u16,
    ) -> Result<u16> {
        if let Some(zero) = zero
            && !coder.bit(&mut self.own, given != zero)?
        {
            return Ok(zero);
        }
        let Some(last) = self.last.get_mut(n_levels % N_REMEMBERED) else {
            return Ok(0);
        };
        let difference = i32::from(given) - i32::from(*last);
        let code = self
            .difference
            .code(coder, u64::from((difference << 1 ^ difference >> 31) as u32))?;
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        let centre = i64::from(*last) + i64::from((code >> 1) as i32 ^ -((code & 1) as i32));
        match u16::try_from(centre) {
            Ok(centre) if usize::from(centre) < n_levels => {
                *last = centre;
                Ok(centre)
            }
            _ => Err(Error::corrupt(
                "group",
                format!("the centre {centre} of {n_levels} levels"),
            )),
        }
    }
}

/// The centre with which a segment is small: the zero symbol, or the median where that pays for being written.
pub(super) fn choose_centre(symbols: &[u16], n_levels: usize, zero: Option<u16>) -> u16 {
    let mut counts = vec![0u32; n_levels];
    for &s in symbols {
        if let Some(count) = counts.get_mut(usize::from(s)) {
            *count += 1;
        }
    }
    let half = symbols.len() as u64 / 2;
    let mut before = 0;
    let median = counts.iter().position(|&c| {
        before += u64::from(c);
        before > half
    });
    let median = median.unwrap_or(0) as u16;
    let Some(zero) = zero else { return median };
    // About what a distance takes in decisions that are not foreseen.
    let cost = |centre: u16| {
        let of =
            |(s, &c): (usize, &u32)| u64::from(c) * u64::from((s.abs_diff(usize::from(centre)) + 1).ilog2());
        counts.iter().enumerate().map(of).sum::<u64>()
    };
    if cost(median) + CENTRE_BITS < cost(zero) {
        median
    } else {
        zero
    }
}

/// Bits that a centre of its own must save.
const CENTRE_BITS: u64 = 16;

/// What is known of a segment beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent<'a> {
    /// Shape of the tensor.
    pub(super) shape: &'a [u64],
    /// Index in the tensor of the first element.
    pub(super) first: u64,
    /// Number of elements.
    pub(super) n: usize,
    /// Size of the alphabet.
    pub(super) n_levels: usize,
    /// The symbol whose level is zero.
    pub(super) zero: Option<u16>,
}

/// A segment being coded.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    walk: Walk,
    centre: i32,
    span: Span,
}

impl Segment {
    /// Codes what comes before the symbols. `None` if there are no symbols, or there is no choice.
    pub(super) fn begin(
        group: &mut Group,
        coder: &mut impl BitCoder,
        extent: Extent<'_>,
        centre: u16,
    ) -> Result<Option<Self>> {
        let Extent { n_levels, zero, .. } = extent;
        if extent.n == 0 || n_levels < 2 {
            return Ok(None);
        }
        let centre = group.centres.code(coder, n_levels, zero, centre)?;
        let span = Span {
            below: u32::from(centre),
            above: n_levels as u32 - 1 - u32::from(centre),
        };
        Ok(Some(Self {
            walk: Walk::new(extent, &group.model.statistics),
            centre: i32::from(centre),
            span,
        }))
    }

    /// What is known of the next element.
    pub(super) fn site(&self, model: &Model) -> Site {
        self.walk.site(&model.statistics)
    }

    /// What `symbol` would take at the next element, in units of 2^-16 bit.
    pub(super) fn price(&self, model: &Model, site: &Site, symbol: u16) -> u32 {
        model.price(site, self.span, i32::from(symbol) - self.centre)
    }

    /// Codes the next symbol.
    #[inline(always)]
    fn code(&mut self, model: &mut Model, coder: &mut impl BitCoder, given: u16) -> u16 {
        let site = self.walk.site(&model.statistics);
        let distance = model.code(coder, &site, self.span, i32::from(given) - self.centre);
        self.walk.push(&mut model.statistics, &site, distance);
        (self.centre + distance) as u16
    }

    /// Encodes the next symbols.
    #[inline(never)]
    pub(super) fn encode(&mut self, model: &mut Model, coder: &mut impl BitCoder, symbols: &[u16]) {
        for &symbol in symbols {
            self.code(model, coder, symbol);
        }
    }

    /// Decodes the next symbols.
    #[inline(never)]
    pub(super) fn decode(&mut self, model: &mut Model, coder: &mut impl BitCoder, out: &mut [u16]) {
        for symbol in out {
            *symbol = self.code(model, coder, 0);
        }
    }

    /// Hands on what the next segment starts from.
    pub(super) fn finish(self, model: &mut Model) {
        self.walk.finish(&mut model.statistics);
    }
}
