//! Symbols of one tensor, or of a chunk of one.

use super::Group;
use super::distance::Span;
use super::logistic::log2;
use super::model::Model;
use super::shape::{Kind, Shape};
use super::walk::{MAX_MAGNITUDE, Site, Walk};
use crate::range::{Bit, BitCoder, TreeModel, UintModel};
use crate::{Error, Result, trellis};

/// Alphabets whose last centre and mean are remembered.
const N_REMEMBERED: usize = 64;
/// Largest mean magnitude, in half octaves of 2^-16: 256.
const MAX_MEAN: u8 = 48;
/// Bits of a state on a trellis.
const STATE_BITS: u32 = trellis::N_STATES.ilog2();
/// The mean before the first, 1.
const FIRST_MEAN: u8 = 32;

/// What is told of a segment before its symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// The symbol that distances are counted from.
    pub(super) centre: u16,
    /// Mean magnitude of the distances, or of the indices on a trellis, in half octaves of 2^-16.
    pub(super) mean: u8,
    /// The first state on a trellis, if the segment is on one. Its centre is the zero symbol.
    pub(super) state: Option<u8>,
}

impl Start {
    /// A centre, and the nearest to a mean magnitude in units of 2^-16.
    pub(super) fn new(centre: u16, mean: u32, state: Option<u8>) -> Self {
        let half_octaves = (log2(mean) + 64) >> 7;
        Self {
            centre,
            mean: half_octaves.clamp(0, MAX_MEAN.into()) as u8,
            state,
        }
    }

    /// That of a segment's symbols.
    pub(super) fn of(symbols: &[u16], kind: Kind, n_levels: usize, zero: Option<u16>) -> Self {
        let state = zero.filter(|_| kind != Kind::Vector).and_then(|zero| {
            let multiple = |&s: &u16| i32::from(s) - i32::from(zero);
            trellis::start(&symbols.iter().map(multiple))
        });
        let centre = match (state, zero) {
            (Some(_), Some(zero)) => zero,
            _ => choose_centre(symbols, n_levels, zero),
        };
        let magnitude = |s: &u16| {
            let distance = u64::from(s.abs_diff(centre));
            // An odd multiple is half an index further than it looks.
            let index = if state.is_some() {
                distance.div_ceil(2)
            } else {
                distance
            };
            index.min(MAX_MAGNITUDE.into())
        };
        let sum: u64 = symbols.iter().map(magnitude).sum();
        let mean = ((sum << 16) / symbols.len().max(1) as u64) as u32;
        Self::new(centre, mean, state.map(|s| s as u8))
    }

    /// The mean in units of 2^-16.
    fn mean(self) -> u32 {
        let half = if self.mean % 2 == 1 { 181 } else { 128 };
        ((half << (self.mean / 2)) >> 7) as u32
    }
}

/// The models of starts.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    on_trellis: Bit,
    states: TreeModel,
    own: Bit,
    centre: UintModel,
    mean: UintModel,
    /// The last centre of its own among alphabets of a size with this remainder.
    centres: [u16; N_REMEMBERED],
    /// The last mean of matrices and of kernels, and that of vectors among alphabets of a size with this remainder.
    means: [u8; Kind::COUNT],
    vector_means: [u8; N_REMEMBERED],
}

/// Codes the difference of a value from the one before.
fn code_difference(coder: &mut impl BitCoder, model: &mut UintModel, last: i64, given: i64) -> Result<i64> {
    let difference = given - last;
    let code = model.code(coder, (difference << 1 ^ difference >> 63) as u64)?;
    let code = i64::from(u32::try_from(code).unwrap_or(u32::MAX));
    Ok(last + (code >> 1 ^ -(code & 1)))
}

impl Starts {
    pub(super) fn new() -> Self {
        Self {
            on_trellis: Bit::default(),
            states: TreeModel::new(STATE_BITS),
            own: Bit::default(),
            centre: UintModel::default(),
            mean: UintModel::default(),
            centres: [0; N_REMEMBERED],
            means: [FIRST_MEAN; Kind::COUNT],
            vector_means: [FIRST_MEAN; N_REMEMBERED],
        }
    }

    fn code(
        &mut self,
        coder: &mut impl BitCoder,
        (kind, n_levels): (Kind, usize),
        zero: Option<u16>,
        given: Start,
    ) -> Result<Start> {
        let state = self.code_state(coder, kind, zero, given.state)?;
        let centre = match (state, zero) {
            (Some(_), Some(zero)) => zero,
            _ => self.code_centre(coder, n_levels, zero, given.centre)?,
        };
        let last = match kind {
            Kind::Vector => self.vector_means.get_mut(n_levels % N_REMEMBERED),
            _ => self.means.get_mut(kind as usize),
        };
        let Some(last) = last else {
            return Ok(given);
        };
        let mean = code_difference(coder, &mut self.mean, (*last).into(), given.mean.into())?;
        match u8::try_from(mean) {
            Ok(mean) if mean <= MAX_MEAN => {
                *last = mean;
                Ok(Start { centre, mean, state })
            }
            _ => Err(Error::corrupt("group", format!("a mean of {mean} half octaves"))),
        }
    }

    /// The first state on a trellis, which a segment with a zero symbol can be on unless it is a vector.
    fn code_state(
        &mut self,
        coder: &mut impl BitCoder,
        kind: Kind,
        zero: Option<u16>,
        given: Option<u8>,
    ) -> Result<Option<u8>> {
        let can_be = zero.is_some() && kind != Kind::Vector;
        if !can_be || !coder.bit(&mut self.on_trellis, given.is_some())? {
            return Ok(None);
        }
        let state = self.states.code(coder, given.unwrap_or(0).into())?;
        Ok(Some(state as u8))
    }

    fn code_centre(
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
        let Some(last) = self.centres.get_mut(n_levels % N_REMEMBERED) else {
            return Ok(0);
        };
        let centre = code_difference(coder, &mut self.centre, (*last).into(), given.into())?;
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
fn choose_centre(symbols: &[u16], n_levels: usize, zero: Option<u16>) -> u16 {
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
    /// Whether it is on a trellis, and the state there.
    on_trellis: bool,
    state: usize,
}

impl Segment {
    /// Codes what comes before the symbols. `None` if there are no symbols, or there is no choice.
    pub(super) fn begin(
        group: &mut Group,
        coder: &mut impl BitCoder,
        extent: Extent<'_>,
        start: Start,
    ) -> Result<Option<Self>> {
        let Extent { n_levels, zero, .. } = extent;
        if extent.n == 0 || n_levels < 2 {
            return Ok(None);
        }
        let shape = Shape::new(extent.shape);
        let start = group.starts.code(coder, (shape.kind, n_levels), zero, start)?;
        let span = Span {
            below: u32::from(start.centre),
            above: n_levels as u32 - 1 - u32::from(start.centre),
        };
        Ok(Some(Self {
            walk: Walk::new(extent, shape, start.mean(), &group.model.statistics),
            centre: i32::from(start.centre),
            span,
            on_trellis: start.state.is_some(),
            state: start.state.unwrap_or(0).into(),
        }))
    }

    /// The kind of its tensor.
    fn kind(&self) -> Kind {
        self.walk.kind()
    }

    /// What is known of the next element.
    pub(super) fn site(&self, model: &Model) -> Site {
        self.walk.site(&model.statistics, self.walk.ahead(0))
    }

    /// What `symbol` would take at the next element, in units of 2^-16 bit; more than anything if it is not on the trellis.
    pub(super) fn price(&self, model: &Model, site: &Site, symbol: u16) -> u32 {
        let distance = i32::from(symbol) - self.centre;
        if !self.on_trellis {
            return model.price(site, self.span, distance);
        }
        let quantizer = trellis::quantizer(self.state);
        trellis::index(quantizer, distance).map_or(u32::MAX, |index| {
            self.price_of_index(model, site, quantizer, index)
        })
    }

    /// What an index of a quantizer would take at the next element of a segment on a trellis, whatever its state.
    pub(super) fn price_of_index(&self, model: &Model, site: &Site, quantizer: usize, index: i32) -> u32 {
        let span = self.span.of_quantizer(quantizer);
        if !self.on_trellis || !span.contains(index) {
            return u32::MAX;
        }
        if span.is_single() {
            return 0;
        }
        model.price(&site.of_quantizer(quantizer), span, index)
    }

    /// Goes to a state in which it is the turn of a quantizer.
    pub(super) fn turn(&mut self, quantizer: usize) {
        self.state = quantizer;
    }

    /// Codes the next symbol, at its site: that given, or when decoding the one read.
    #[inline(always)]
    fn code<const ON_TRELLIS: bool>(
        &mut self,
        model: &mut Model,
        coder: &mut impl BitCoder,
        site: &Site,
        given: Option<u16>,
    ) -> u16 {
        let given = given.map(|symbol| i32::from(symbol) - self.centre);
        if !ON_TRELLIS {
            let distance = model.code(coder, site, self.span, given.unwrap_or(0));
            self.walk.push(&mut model.statistics, site, distance);
            return (self.centre + distance) as u16;
        }
        let quantizer = trellis::quantizer(self.state);
        let span = self.span.of_quantizer(quantizer);
        let given = given.map_or(0, |distance| trellis::index(quantizer, distance).unwrap_or(0));
        let index = if span.is_single() {
            0
        } else {
            model.code(coder, &site.of_quantizer(quantizer), span, given)
        };
        self.walk.push(&mut model.statistics, site, index);
        self.state = trellis::next(self.state, index);
        (self.centre + trellis::multiple(quantizer, index)) as u16
    }

    /// Codes the next symbols, those given or those read, and hands each on.
    #[inline(always)]
    fn code_all<const ON_TRELLIS: bool, T>(
        &mut self,
        model: &mut Model,
        coder: &mut impl BitCoder,
        symbols: impl Iterator<Item = T>,
        given: impl Fn(&T) -> Option<u16>,
        mut take: impl FnMut(T, u16),
    ) {
        let mut ahead = self.walk.ahead(0);
        for symbol in symbols {
            let site = self.walk.site(&model.statistics, ahead);
            // What is known of the element after this one is worked out while this one is decided.
            ahead = self.walk.ahead(1);
            let coded = self.code::<ON_TRELLIS>(model, coder, &site, given(&symbol));
            take(symbol, coded);
        }
    }

    /// Encodes the next symbol, at its site.
    pub(super) fn encode_one(
        &mut self,
        model: &mut Model,
        coder: &mut impl BitCoder,
        site: &Site,
        symbol: u16,
    ) {
        if self.on_trellis {
            self.code::<true>(model, coder, site, Some(symbol));
        } else {
            self.code::<false>(model, coder, site, Some(symbol));
        }
    }

    /// Encodes the next symbols.
    #[inline(never)]
    pub(super) fn encode(&mut self, model: &mut Model, coder: &mut impl BitCoder, symbols: &[u16]) {
        let symbols = symbols.iter().copied();
        if self.on_trellis {
            self.code_all::<true, _>(model, coder, symbols, |&s| Some(s), |_, _| ());
        } else {
            self.code_all::<false, _>(model, coder, symbols, |&s| Some(s), |_, _| ());
        }
    }

    /// Decodes the next symbols.
    #[inline(never)]
    pub(super) fn decode(&mut self, model: &mut Model, coder: &mut impl BitCoder, out: &mut [u16]) {
        let out = out.iter_mut();
        if self.on_trellis {
            self.code_all::<true, _>(model, coder, out, |_| None, |out, symbol| *out = symbol);
        } else {
            self.code_all::<false, _>(model, coder, out, |_| None, |out, symbol| *out = symbol);
        }
    }

    /// Hands on what the next segment starts from.
    pub(super) fn finish(self, model: &mut Model) {
        model.n_seen[self.kind() as usize][usize::from(self.on_trellis)] += self.walk.n_coded();
        self.walk.finish(&mut model.statistics);
    }
}
